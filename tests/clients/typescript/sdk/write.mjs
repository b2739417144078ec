// The event of a game that knows CloudEvents and not us, as its SDK writes it: a JSON line for each mode. Reads our JSON from stdin, too.
import { CloudEvent, HTTP } from "cloudevents";
import { readFileSync } from "node:fs";

const attributes = {
  id: "js-1",
  source: "https://game.example/eu-1",
  type: "worldbus.player.v1.PlayerJoined",
  subject: "mira",
  time: "2026-11-22T12:00:00.250Z",
  partitionkey: "eu",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "rojo=00f067aa0ba902b7",
  data: { displayName: "Mira", zone: "quay" },
};
const write = (mode, message) => process.stdout.write(`${JSON.stringify({ mode, headers: message.headers, body: String(message.body) })}\n`);
const event = new CloudEvent(attributes);
write("structured", HTTP.structured(event));
write("binary", HTTP.binary(event));
write("binary, with its type", HTTP.binary(event.cloneWith({ datacontenttype: "application/json" })));

const given = readFileSync(0, "utf8");
if (given.trim() !== "") {
  const read = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body: given });
  process.stdout.write(`${JSON.stringify({ mode: "read", id: read.id, type: read.type, zone: read.data.zone, partitionkey: read.partitionkey })}\n`);
}
