/**
 * What the bus refuses in a payload, found before it is sent: NUL and lone surrogates in texts, numbers that are not finite, times and durations
 * out of their range, too deep nesting.
 */

import type { DescMessage, Message } from "@bufbuild/protobuf";
import { isReflectMessage, reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";

const MAX_DEPTH = 32;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** What is wrong with a message, or undefined. */
export function problem(schema: DescMessage, message: Message): string | undefined {
  return inMessage(reflect(schema, message), schema.name, 0);
}

/** Seconds of the years 1 to 9999, and of a duration of 10,000 years. */
const FIRST_SECOND = -62_135_596_800n;
const LAST_SECOND = 253_402_300_799n;
const LONGEST = 315_576_000_000n;
const NANOS = 1_000_000_000;

/** Whether a moment is one of the years 1 to 9999. */
export function isMoment(seconds: bigint, nanos: number): boolean {
  return seconds >= FIRST_SECOND && seconds <= LAST_SECOND && nanos >= 0 && nanos < NANOS;
}

function outOfRange(message: ReflectMessage): boolean {
  const { seconds, nanos } = message.message as unknown as { seconds: bigint; nanos: number };
  if (message.desc.typeName === "google.protobuf.Timestamp") return !isMoment(seconds, nanos);
  if (message.desc.typeName !== "google.protobuf.Duration") return false;
  const mixed = (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0);
  return seconds > LONGEST || seconds < -LONGEST || Math.abs(nanos) >= NANOS || mixed;
}

function inMessage(message: ReflectMessage, where: string, depth: number): string | undefined {
  if (depth > MAX_DEPTH) return `${where} lies more than ${MAX_DEPTH} messages deep: flatten it`;
  if (outOfRange(message)) return `${where} must be a time of the years 1 to 9999, or at most 10,000 years`;
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
