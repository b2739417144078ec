/** The official parser of AsyncAPI on the file that it is given: what it says, and what it found. */

import { readFileSync } from "node:fs";

import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const said = diagnostics.map((one) => `${one.severity} ${one.code} ${one.message} at ${one.path.join(".")}`);
const messages = document?.allMessages().all().map((one) => one.id()) ?? [];
console.log(JSON.stringify({ said, version: document?.version(), messages }));
