/** What the bus refuses in a payload, found before it is sent: NUL and lone surrogates in texts, numbers that are not finite, too deep nesting. */

import type { DescMessage, Message } from "@bufbuild/protobuf";
import { isReflectMessage, reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";

const MAX_DEPTH = 32;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** What is wrong with a message, or undefined. */
export function problem(schema: DescMessage, message: Message): string | undefined {
  return inMessage(reflect(schema, message), schema.name, 0);
}

function inMessage(message: ReflectMessage, where: string, depth: number): string | undefined {
  if (depth > MAX_DEPTH) return `${where} lies more than ${MAX_DEPTH} messages deep: flatten it`;
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const value: unknown = message.get(field);
    const name = `${where}.${field.name}`;
    const found = field.fieldKind === "list" || field.fieldKind === "map" ? inMany(value as Iterable<unknown>, name, depth) : inValue(value, name, depth);
    if (found !== undefined) return found;
  }
  return undefined;
}

function inMany(values: Iterable<unknown>, where: string, depth: number): string | undefined {
  for (const one of values) {
    const found = Array.isArray(one) ? inMany(one, where, depth) : inValue(one, where, depth); // a map's entries are pairs
    if (found !== undefined) return found;
  }
  return undefined;
}

function inValue(value: unknown, where: string, depth: number): string | undefined {
  if (typeof value === "string" && (value.includes("\0") || LONE_SURROGATE.test(value))) {
    return `${where} must be text without NUL and lone surrogates, found ${JSON.stringify(value).slice(0, 80)}`;
  }
  if (typeof value === "number" && !Number.isFinite(value)) return `${where} must be a finite number, found ${value}`;
  return isReflectMessage(value) ? inMessage(value, where, depth + 1) : undefined;
}
