/** The client: what a browser engine calls. One WebSocket connection; nothing here needs node. */

import { fromBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { jetstream, JetStreamApiError, type ConsumerMessages, type JetStreamClient } from "@nats-io/jetstream";
import { wsconnect, type NatsConnection } from "@nats-io/nats-core";

import { TokensDeliveredSchema, type TokensDelivered } from "../gen/worldbus/inference/v1/types_pb.js";
import { PresentMomentSchema, type PresentMoment } from "../gen/worldbus/time/v1/types_pb.js";
import { address, variable } from "./environment.js";
import { pack, token, unpack, type About, type Parcel, type Received } from "./envelope.js";
import { Conflict, Group, NotTaken, type Draft, type Expected } from "./group.js";

export { worldTime, type Anchor } from "./clock.js";
export { BadEvent, type About, type Received } from "./envelope.js";
export { Conflict, draft, type Draft, type Expected } from "./group.js";

/** More events wait for the log than the queue holds: nothing was taken. */
export class QueueFull extends Error {}
/** The log said no, for good: `code` is its reason. */
export class Refused extends Error {
  constructor(message: string, readonly code: number) {
    super(message);
  }
}
/** No answer came in time: the event may be recorded. Publish it again with the same id. */
export class Unknown extends Error {}

export interface Settings {
  /**
   * `ws://` or `wss://`, of the server's `websocket` block; user and password may stand in it. In node, default: `WORLDBUS_WEBSOCKET_URL`, or
   * `WORLDBUS_NATS_URL` if that is one.
   */
  url?: string;
  /** In node, default: `WORLDBUS_WORLD`. */
  world?: string;
  user?: string;
  password?: string;
  token?: string;
  /** Who says what is published; default `game`. */
  subsystem?: string;
  /** Name of the stream; default `LOG`. */
  log?: string;
  /** Events that may wait for their answer; default 1024. */
  queue?: number;
  /** Without an answer for so long an event is sent again with the same id; default 5000 ms. */
  answerMs?: number;
  /** After so long it ends as `Unknown`; default 30,000 ms. */
  giveUpMs?: number;
}

/** The log has the event. */
export interface Recorded {
  id: string;
  position: number;
  /** Whether it was there already: the same id twice is recorded once, within two minutes. */
  repeated: boolean;
}

interface Waiting {
  parcel: Parcel;
  resolve: (recorded: Recorded) => void;
  reject: (reason: Error) => void;
}

const PAUSE_MS = 250;
const pause = (): Promise<void> => new Promise((resume) => setTimeout(resume, PAUSE_MS));

/** What a game's function throws is its own, and ends nothing of ours. */
function call<Heard>(heard: (event: Heard) => void, event: Heard | undefined): void {
  try {
    if (event !== undefined) heard(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/**
 * One connection to the bus.
 *
 * Events are recorded in the order of `publish`, also over reconnects, because one is under way at a time; the others wait in a bounded
 * queue. A browser says some events a second; a game server that says hundreds takes another client.
 */
export class Client {
  private readonly waiting: Waiting[] = [];
  private readonly stream: JetStreamClient;
  private readonly followed = new Set<() => void>();
  private sending: Promise<void> = Promise.resolve();
  private busy = false;
  private closed = false;

  private constructor(private readonly connection: NatsConnection, private readonly settings: Required<Omit<Settings, "url" | "user" | "password" | "token">>) {
    this.stream = jetstream(connection, { timeout: settings.answerMs });
    // A server that was started again has forgotten the consumers, which the library would notice after half a minute of silence.
    this.onStatus((connected) => connected && this.followed.forEach((end) => end()));
  }

  /** Connect; throws when no server answers. From then on it reconnects by itself, for ever. */
  static async connect(settings: Settings = {}): Promise<Client> {
    const { url, user, password, token: secret, world: named, ...rest } = settings;
    const world = token(named ?? variable("WORLDBUS_WORLD") ?? "", "world");
    const connection = await wsconnect({
      ...address(url),
      name: "worldbus-client-ts",
      maxReconnectAttempts: -1,
      reconnectTimeWait: PAUSE_MS,
      reconnectJitter: 0,
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { pass: password }),
      ...(secret === undefined ? {} : { token: secret }),
    });
    return new Client(connection, { subsystem: "game", log: "LOG", queue: 1024, answerMs: 5000, giveUpMs: 30_000, ...rest, world });
  }

  /** Record one event about an entity; settles once the log has it. Rejects with `BadEvent`, `QueueFull`, `Refused` or `Unknown`. */
  publish<Desc extends DescMessage>(entity: string, schema: Desc, init: MessageInitShape<Desc>, about: About = {}): Promise<Recorded> {
    return new Promise((resolve, reject) => {
      if (this.closed) throw new Unknown("the client is closed: connect a new one");
      if (this.waiting.length >= this.settings.queue) {
        throw new QueueFull(`${this.waiting.length} events wait for the log, wanted fewer than ${this.settings.queue}`);
      }
      const parcel = pack(this.settings.world, this.settings.subsystem, entity, schema, init, about);
      this.waiting.push({ parcel, resolve, reject });
      if (!this.busy) this.sending = this.send();
    });
  }

  /**
   * Record all of `drafts` (made by `draft`), in order and behind one another, or none. At most 1000.
   *
   * With `expected`, only if the last event of each of these lanes is at its position, all at the same moment; lanes that were only read as
   * well, as many as there are drafts. So a rule over several entities holds, if all who write to them expect them. Groups and single events
   * of one client have no order among each other. Rejects with `BadEvent`, `Conflict`, `Refused`, or `Unknown`: then publish the same drafts
   * again, which records them once (within two minutes; for ever where a lane of the drafts is expected).
   */
  async publishGroup(drafts: readonly Draft[], expected: readonly Expected[] = []): Promise<Recorded[]> {
    const group = new Group(this.settings.world, this.settings.subsystem, drafts, expected);
    const until = Date.now() + this.settings.giveUpMs;
    let reason: unknown = "the client is closed";
    while (!this.closed && Date.now() < until) {
      try {
        const manager = await this.stream.jetstreamManager(false);
        const positions = await group.attempt(this.connection, manager, this.settings.log, this.settings.answerMs);
        if (positions !== undefined) {
          return positions.map((position, index) => ({ id: group.parcels[index]!.id, position, repeated: false }));
        }
      } catch (error) {
        if (error instanceof Conflict) throw error;
        if (error instanceof NotTaken) throw new Refused(error.message, error.code);
        reason = error;
      }
      await pause();
    }
    throw new Unknown(`a group of ${drafts.length} events has no answer after ${this.settings.giveUpMs} ms: ${String(reason)}`, { cause: reason });
  }

  /**
   * Events of one type in the order of the log, without gaps, also over reconnects. `after`: those behind a position; `latest`: first the last
   * one of each entity, as it stands; neither: what is new. What `heard` throws ends nothing.
   */
  async follow<Desc extends DescMessage>(
    schema: Desc,
    heard: (event: Received<Desc>) => void,
    from: { entity?: string; after?: number; latest?: boolean } = {},
  ): Promise<() => void> {
    const entity = from.entity === undefined ? "*" : token(from.entity, "entity");
    const filter = `evt.*.${this.settings.world}.*.${entity}.${schema.name}`;
    let next: number | undefined = from.latest ? undefined : (from.after ?? (await this.last())) + 1;
    let messages = await this.consume(filter, next);
    let stopped = false;
    const end = (): void => messages.stop();
    this.followed.add(end);
    void (async () => {
      while (!stopped && !this.closed) {
        try {
          for await (const message of messages) {
            next = message.seq + 1;
            call(heard, unpack(schema, message.subject, message.seq, message.data));
          }
          if (!stopped && !this.closed) messages = await this.consume(filter, next);
        } catch {
          await pause(); // the server was away for long, and the library gave up: go on behind what was heard
          messages = await this.consume(filter, next).catch(() => messages);
        }
      }
      this.followed.delete(end);
      end();
    })();
    return () => {
      stopped = true;
      end();
    };
  }

  /** Whether the server is within reach, at each change. */
  onStatus(heard: (connected: boolean) => unknown): () => void {
    const changes = this.connection.status();
    let stopped = false;
    void (async () => {
      for await (const { type } of changes) {
        if (stopped) return;
        if (type === "disconnect" || type === "reconnect") heard(type === "reconnect");
      }
    })();
    return () => void (stopped = true);
  }

  /**
   * Chunks of lines while they are spoken, best effort: what is said while the connection is broken is not heard; `NpcSpoke` has the whole
   * line. A chunk of an attempt that another one has overtaken is left out.
   */
  onChunk(heard: (chunk: TokensDelivered) => void): () => void {
    const attempts = new Map<string, number>();
    const subscription = this.connection.subscribe(`sig.${this.settings.world}.tokens.*`, {
      callback: (error, message) => {
        if (error) return;
        const chunk = fromBinary(TokensDeliveredSchema, message.data);
        if (chunk.attempt < (attempts.get(chunk.requestId) ?? 0)) return;
        if (chunk.last) attempts.delete(chunk.requestId);
        else attempts.set(chunk.requestId, chunk.attempt);
        heard(chunk);
      },
    });
    return () => subscription.unsubscribe();
  }

  /** What the world's clock shows, four times a second while it is told; the log has a step only when something is due. */
  onMoment(heard: (moment: PresentMoment) => void): () => void {
    const subscription = this.connection.subscribe(`sig.${this.settings.world}.clock`, {
      callback: (error, message) => {
        if (!error) heard(fromBinary(PresentMomentSchema, message.data));
      },
    });
    return () => subscription.unsubscribe();
  }

  /** Settles when everything published so far has ended, one way or the other. */
  async flush(): Promise<void> {
    while (this.busy) await this.sending;
  }

  /** Close at once; `flush` first to wait for what is under way. What waits is rejected. */
  async close(): Promise<void> {
    this.closed = true;
    for (const one of this.waiting.splice(0)) one.reject(new Unknown("the client was closed before the log answered"));
    await this.connection.close();
  }

  /** Position of the last event of the log. */
  private async last(): Promise<number> {
    const manager = await this.stream.jetstreamManager(false);
    return (await manager.streams.info(this.settings.log)).state.last_seq;
  }

  /** From position `next` on; without it: from the last event of each subject on. */
  private async consume(filter: string, next: number | undefined): Promise<ConsumerMessages> {
    const from = next === undefined ? { deliver_policy: "last_per_subject" as const } : { opt_start_seq: next };
    const settings = { filter_subjects: filter, mem_storage: true, ...from };
    // Pushed, not pulled: whoever may ask a consumer for events may have any event recorded once more.
    const consumer = await this.stream.consumers.getPushConsumer(this.settings.log, settings);
    return consumer.consume();
  }

  private async send(): Promise<void> {
    this.busy = true;
    try {
      for (let one = this.waiting[0]; one !== undefined; one = this.waiting[0]) {
        try {
          one.resolve(await this.insist(one.parcel));
        } catch (error) {
          one.reject(error as Error);
        }
        if (this.waiting[0] === one) this.waiting.shift();
      }
    } finally {
      this.busy = false;
    }
  }

  private async insist(parcel: Parcel): Promise<Recorded> {
    const until = Date.now() + this.settings.giveUpMs;
    for (;;) {
      try {
        const answer = await this.stream.publish(parcel.subject, parcel.payload, {
          msgID: parcel.id,
          expect: { streamName: this.settings.log },
          timeout: this.settings.answerMs,
          retries: 0,
        });
        return { id: parcel.id, position: answer.seq, repeated: answer.duplicate };
      } catch (error) {
        if (error instanceof JetStreamApiError && error.status >= 400 && error.status < 500) throw new Refused(error.message, error.code);
        if (this.closed || Date.now() >= until) {
          throw new Unknown(`${parcel.id} has no answer after ${this.settings.giveUpMs} ms: ${String(error)}`, { cause: error });
        }
        await pause();
      }
    }
  }
}
