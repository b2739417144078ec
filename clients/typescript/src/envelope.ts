/** The envelope: one CloudEvents 1.0 protobuf message per event, as every publisher of the bus writes it. */

import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { anyPack, anyUnpack, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";

import { isMoment, problem } from "./check.js";
import { CloudEventSchema, type CloudEvent } from "../gen/io/cloudevents/v1/cloudevents_pb.js";

export const MAX_EVENT = 262_144; // bytes
const RUNTIME = "worldbus.runtime.";
const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;
const ID = /^[!-~]{1,255}$/;
const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";
let count = Math.floor(Math.random() * 65_536);

/** The event breaks a rule of the bus; it was not sent. */
export class BadEvent extends Error {}

/** What an event may be given besides its content. */
export interface About {
  /** Your own id, so that a retry after a crash is recorded once; else a fresh one. */
  id?: string;
  /** Id of the event that led here, and of the root of it all. */
  cause?: string;
  correlation?: string;
  /** When it happened; else now. */
  time?: Date;
}

/** What goes out for one event. */
export interface Parcel {
  id: string;
  subject: string;
  payload: Uint8Array;
}

/** One event of the log. */
export interface Received<Desc extends DescMessage> {
  position: number;
  world: string;
  subsystem: string;
  entity: string;
  id: string;
  time: Date | undefined;
  data: MessageShape<Desc>;
  envelope: CloudEvent;
}

/** `text` if it may stand in a subject; throws `BadEvent`. */
export function token(text: string, what: string): string {
  if (!TOKEN.test(text)) throw new BadEvent(`${what}: wanted 1 to 64 of A-Z a-z 0-9 _ -, found ${JSON.stringify(text)}`);
  return text;
}

/** A fresh id that sorts by time: 10 characters of milliseconds, 12 of randomness, 4 of a count. */
export function newId(now: number = Date.now()): string {
  const random = crypto.getRandomValues(new Uint8Array(12));
  count = (count + 1) % 1_048_576;
  return digits(now, 10) + Array.from(random, (byte) => DIGITS[byte & 31]).join("") + digits(count, 4);
}

function digits(value: number, length: number): string {
  let text = "";
  for (let left = value; text.length < length; left = Math.floor(left / 32)) text = DIGITS[left % 32] + text;
  return text;
}

/** Check and encode one event; throws `BadEvent`. */
export function pack<Desc extends DescMessage>(
  world: string,
  subsystem: string,
  entity: string,
  schema: Desc,
  init: MessageInitShape<Desc>,
  about: About = {},
): Parcel {
  const id = about.id ?? newId();
  for (const [what, text] of [["id", id], ["cause", about.cause], ["correlation", about.correlation]] as const) {
    if (text !== undefined && !ID.test(text)) {
      throw new BadEvent(`${what}: wanted 1 to 255 visible ASCII characters, found ${JSON.stringify(text)}`);
    }
  }
  if (schema.typeName.startsWith(RUNTIME)) throw new BadEvent(`${schema.typeName} is the runtime's own record: nobody else publishes it`);
  const time = about.time ?? new Date();
  if (!isMoment(BigInt(Math.floor((time.getTime() || 0) / 1000)), 0) || Number.isNaN(time.getTime())) {
    throw new BadEvent(`time: wanted a time of the years 1 to 9999, found ${String(time)}`);
  }
  const word = (value: string) => ({ attr: { case: "ceString" as const, value } });
  const attributes: Record<string, { attr: { case: "ceString"; value: string } | { case: "ceTimestamp"; value: ReturnType<typeof timestampFromDate> } }> = {
    subject: word(token(entity, "entity")),
    world: word(world),
    time: { attr: { case: "ceTimestamp", value: timestampFromDate(time) } },
  };
  if (about.cause !== undefined) attributes["causationid"] = word(about.cause);
  if (about.correlation !== undefined) attributes["correlationid"] = word(about.correlation);
  const payload = encode(id, subsystem, schema, init, attributes);
  if (payload.length > MAX_EVENT) {
    throw new BadEvent(`event ${schema.typeName} of ${payload.length} bytes, wanted at most ${MAX_EVENT}: send a reference instead`);
  }
  return { id, subject: `evt.${world}.${subsystem}.${entity}.${schema.name}`, payload };
}

function encode<Desc extends DescMessage>(
  id: string,
  subsystem: string,
  schema: Desc,
  init: MessageInitShape<Desc>,
  attributes: NonNullable<MessageInitShape<typeof CloudEventSchema>["attributes"]>,
): Uint8Array {
  let found: string | undefined;
  try {
    const message = create(schema, init);
    const event = create(CloudEventSchema, {
      id,
      source: `/worldbus/${subsystem}`,
      specVersion: "1.0",
      type: schema.typeName,
      attributes,
      data: { case: "protoData", value: anyPack(schema, message) },
    });
    const payload = toBinary(CloudEventSchema, event);
    // As it was given, and as it was written: a text where a number belongs is written as NaN.
    found = problem(schema, message) ?? problem(schema, fromBinary(schema, toBinary(schema, message)));
    if (found === undefined) return payload;
  } catch (error) {
    throw new BadEvent(`${schema.typeName} cannot be encoded: ${String(error)}`, { cause: error });
  }
  throw new BadEvent(found);
}

/** One event as it stands in the log, at `evt.<partition>.<world>.<subsystem>.<entity>.<name>`; undefined if it is of another type. */
export function unpack<Desc extends DescMessage>(
  schema: Desc,
  subject: string,
  position: number,
  payload: Uint8Array,
): Received<Desc> | undefined {
  const [, , world = "", subsystem = "", entity = ""] = subject.split(".");
  const envelope = fromBinary(CloudEventSchema, payload);
  const data = envelope.data.case === "protoData" ? anyUnpack(envelope.data.value, schema) : undefined;
  if (data === undefined) return undefined;
  const time = envelope.attributes["time"]?.attr;
  return {
    position,
    world,
    subsystem,
    entity,
    id: envelope.id,
    time: time?.case === "ceTimestamp" ? timestampDate(time.value) : undefined,
    data,
    envelope,
  };
}
