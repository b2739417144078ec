/**
 * Groups: events that are recorded together or not at all, each lane where it was expected, as one atomic batch of the log.
 *
 * The server checks one expected position on each message of a batch, so a group expects as many lanes as it has events, those that it only
 * read included. A group without an answer is sent again as a whole; what the log has of it already is recognised by its ids and bytes.
 */

import { fromBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import type { JetStreamManager, MsgRequest, StoredMsg } from "@nats-io/jetstream";
import { headers, type MsgHdrs, type NatsConnection } from "@nats-io/nats-core";

import { BadEvent, newId, pack, token, type About, type Parcel } from "./envelope.js";
import { CloudEventSchema } from "../gen/io/cloudevents/v1/cloudevents_pb.js";

const MOST = 1000; // events in a group
const MEMORY_MS = 65 * 60_000; // more than the two minutes in which the log remembers ids, and our clock may differ
const DUPLICATE = 10201;
const WRONG_LAST_SEQUENCE = [10071, 10164];
const PASSES = [408, 429, 500, 503]; // codes of answers that pass

/** One event of a group; made by `draft`. */
export interface Draft {
  entity: string;
  about: About;
  pack(world: string, subsystem: string): Parcel;
}

/** Where the last event of `subsystem` (left out: the client's own) about `entity` has to be; 0: there is none. */
export interface Expected {
  entity: string;
  position: number;
  subsystem?: string;
}

/** A lane is not at the position where it was expected: nothing was recorded. Look again, and decide again. */
export class Conflict extends Error {
  constructor(readonly subsystem: string, readonly entity: string, readonly expected: number, readonly found: number) {
    super(`expected the last event of ${subsystem}/${entity} at ${expected}, found it at ${found}: look again and decide again`);
  }
}

/** An event about an entity, for a group. Its id is fixed here: publishing the group again is the same group. */
export function draft<Desc extends DescMessage>(entity: string, schema: Desc, init: MessageInitShape<Desc>, about: About = {}): Draft {
  const fixed = { ...about, id: about.id ?? newId(), time: about.time ?? new Date() };
  return { entity, about: fixed, pack: (world, subsystem) => pack(world, subsystem, entity, schema, init, fixed) };
}

interface Lane {
  name: string;
  subsystem: string;
  entity: string;
  position: number;
  /** Index of its first event in the group; -1: it was only read. */
  own: number;
}

/** A group that keeps the rules, ready to be sent to one log. */
export class Group {
  readonly parcels: Parcel[];
  private readonly lanes: Lane[];
  private readonly carriers = new Map<number, Lane>();
  private partitions = 0;

  /** Throws `BadEvent`. */
  constructor(private readonly world: string, private readonly subsystem: string, drafts: readonly Draft[], expected: readonly Expected[]) {
    if (drafts.length < 1 || drafts.length > MOST) throw new BadEvent(`wanted a group of 1 to ${MOST} events, found ${drafts.length}: split it`);
    this.parcels = drafts.map((one) => one.pack(world, subsystem));
    if (new Set(this.parcels.map((one) => one.id)).size < drafts.length) throw new BadEvent("two events of the group have the same id: give each its own");
    this.lanes = expected.map((one) => this.lane(one, drafts));
    if (new Set(this.lanes.map((one) => one.name)).size < expected.length) throw new BadEvent("one lane is expected twice: say once where");
    if (expected.length > drafts.length) {
      throw new BadEvent(
        `wanted at most one expected position for each event of a group, found ${expected.length} for ${drafts.length}: ` +
          "record what was read as an event of its own, or expect fewer lanes",
      );
    }
    for (const lane of this.lanes) if (lane.own >= 0) this.carriers.set(lane.own, lane);
    for (const lane of this.lanes) if (lane.own < 0) this.carriers.set(this.parcels.findIndex((_, index) => !this.carriers.has(index)), lane);
  }

  private lane({ entity, position, subsystem = this.subsystem }: Expected, drafts: readonly Draft[]): Lane {
    if (!Number.isSafeInteger(position) || position < 0) {
      throw new BadEvent(`expected position of ${entity} must be a whole number, 0 for a lane without events, found ${position}`);
    }
    const name = `${token(subsystem, "subsystem")}/${token(entity, "entity")}`;
    const own = subsystem === this.subsystem ? drafts.findIndex((one) => one.entity === entity) : -1;
    return { name, subsystem, entity, position, own };
  }

  /** Send it once: its positions, or nothing to try again. Throws `Conflict`, `TakenId`, or whatever a connection throws. */
  async attempt(connection: NatsConnection, manager: JetStreamManager, log: string, timeoutMs: number): Promise<number[] | undefined> {
    this.partitions ||= await partitionsOf(manager, log);
    const answer = await this.send(connection, timeoutMs);
    const count = this.parcels.length;
    const error = answer.error;
    if (error === undefined) return this.parcels.map((_, index) => (answer.seq ?? 0) - count + 1 + index);
    if (error.err_code === DUPLICATE) return this.repeated(manager, log);
    if (WRONG_LAST_SEQUENCE.includes(error.err_code)) return this.moved(manager, log);
    if (PASSES.includes(error.code)) return undefined;
    throw new NotTaken(`the log does not take the group: ${error.description}`, error.err_code);
  }

  private async send(connection: NatsConnection, timeoutMs: number): Promise<Answer> {
    const batch = newId();
    const last = this.parcels.length - 1;
    const headed = (parcel: Parcel, index: number): MsgHdrs => {
      const head = headers();
      head.set("Nats-Msg-Id", parcel.id);
      head.set("Nats-Batch-Id", batch);
      head.set("Nats-Batch-Sequence", String(index + 1));
      const lane = this.carriers.get(index);
      if (lane !== undefined) {
        head.set("Nats-Expected-Last-Subject-Sequence", String(lane.position));
        head.set("Nats-Expected-Last-Subject-Sequence-Subject", this.filter(lane.subsystem, lane.entity));
      }
      if (index === last) head.set("Nats-Batch-Commit", "1");
      return head;
    };
    this.parcels.slice(0, last).forEach((parcel, index) => connection.publish(parcel.subject, parcel.payload, { headers: headed(parcel, index) }));
    const parcel = this.parcels[last]!;
    const reply = await connection.request(parcel.subject, parcel.payload, { headers: headed(parcel, last), timeout: timeoutMs });
    return reply.json<Answer>();
  }

  /** Every stored subject of a lane. */
  private filter(subsystem: string, entity: string): string {
    return `evt.${partitionOf(this.world + entity, this.partitions)}.${this.world}.${subsystem}.${entity}.*`;
  }

  private ownFilter(index: number): string {
    return this.filter(this.subsystem, this.parcels[index]!.subject.split(".")[3]!);
  }

  /** Where the group is, of which the log says that it knows an id. */
  private async repeated(manager: JetStreamManager, log: string): Promise<number[]> {
    const since = { start_time: new Date(Date.now() - MEMORY_MS) };
    const ids = new Map(this.parcels.map((one, index) => [one.id, index]));
    for (const filter of new Set(this.parcels.map((_, index) => this.ownFilter(index)))) {
      const at = await this.search(manager, log, filter, since, (id) => ids.has(id));
      if (at !== undefined) return this.whole(manager, log, at.position - ids.get(at.id)!, at.id);
    }
    throw new NotTaken(`an id of the group that begins with ${this.parcels[0]!.id} is taken by another event; nothing was recorded`, DUPLICATE);
  }

  /** Where the group is, if it is what moved its lanes itself; nothing if none has moved. Throws `Conflict`. */
  private async moved(manager: JetStreamManager, log: string): Promise<number[] | undefined> {
    let conflict: Conflict | undefined;
    for (const lane of this.lanes) {
      const filter = this.filter(lane.subsystem, lane.entity);
      const found = (await manager.streams.getMessage(log, { last_by_subj: filter }))?.seq ?? 0;
      if (found === lane.position) continue;
      conflict ??= new Conflict(lane.subsystem, lane.entity, lane.position, found);
      const own = this.parcels[lane.own];
      if (own === undefined) continue;
      // Had it been stored, its event would be the very next one of the lane.
      const behind = await manager.streams.getMessage(log, next({ seq: lane.position + 1 }, filter));
      if (behind !== null && idOf(behind) === own.id) return this.whole(manager, log, behind.seq - lane.own, own.id);
    }
    if (conflict !== undefined && this.lanes.every((lane) => lane.own < 0)) {
      const from = { seq: Math.max(...this.lanes.map((lane) => lane.position)) + 1 };
      const first = this.parcels[0]!.id;
      const at = await this.search(manager, log, this.ownFilter(0), from, (id) => id === first);
      if (at !== undefined) return this.whole(manager, log, at.position, first);
    }
    if (conflict !== undefined) throw conflict;
    return undefined;
  }

  /** One message at a time: whoever may ask for several (`DIRECT.GET`) may write any event. */
  private async search(
    manager: JetStreamManager,
    log: string,
    filter: string,
    from: { seq: number } | { start_time: Date },
    wanted: (id: string) => boolean,
  ): Promise<{ position: number; id: string } | undefined> {
    for (let start: { seq: number } | { start_time: Date } = from; ; ) {
      const message = await manager.streams.getMessage(log, next(start, filter));
      if (message === null) return undefined;
      const id = idOf(message);
      if (wanted(id)) return { position: message.seq, id };
      start = { seq: message.seq + 1 };
    }
  }

  /** The positions of the group, whose first event would be at `first`. Throws `NotTaken` if another one has its ids. */
  private async whole(manager: JetStreamManager, log: string, first: number, id: string): Promise<number[]> {
    for (const [index, parcel] of this.parcels.entries()) {
      const held = first < 1 ? null : await manager.streams.getMessage(log, { seq: first + index });
      if (held === null || !equal(held.data, parcel.payload)) {
        throw new NotTaken(`id ${id} is taken by another event; nothing was recorded`, DUPLICATE);
      }
    }
    return this.parcels.map((_, index) => first + index);
  }
}

/** The first message of a lane from there on; the server knows such questions, the types of its client do not. */
function next(from: { seq: number } | { start_time: Date }, filter: string): MsgRequest {
  return { ...from, next_by_subj: filter } as unknown as MsgRequest;
}

/** The log said no to a group, for good. */
export class NotTaken extends Error {
  constructor(message: string, readonly code: number) {
    super(message);
  }
}

interface Answer {
  seq?: number;
  error?: { code: number; err_code: number; description: string };
}

async function partitionsOf(manager: JetStreamManager, log: string): Promise<number> {
  const written = /\{\{partition\((\d+),/.exec((await manager.streams.info(log)).config.subject_transform?.dest ?? "");
  if (written === null) throw new NotTaken(`stream ${log} is no log of worldbus: it has no partitions`, 0);
  return Number(written[1]);
}

/** As the server computes it: FNV-1a of 32 bits. */
export function partitionOf(text: string, partitions: number): number {
  let digest = 2166136261;
  for (const byte of new TextEncoder().encode(text)) digest = Math.imul(digest ^ byte, 16777619);
  return (digest >>> 0) % partitions;
}

function idOf(message: StoredMsg): string {
  try {
    return fromBinary(CloudEventSchema, message.data).id;
  } catch {
    return "";
  }
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}
