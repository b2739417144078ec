/** What the tests run in node: publishes or hears, and says JSON lines. `WebSocket` is a browser's; node before 22 takes it from `ws`. */

import { WebSocket } from "ws";

import { PlayerMovedSchema } from "../gen/worldbus/player/v1/player_pb.js";
import { PlayerSpokeSchema } from "../gen/worldbus/game/v1/game_pb.js";
import { EventParkedSchema } from "../gen/worldbus/runtime/v1/runtime_pb.js";
import { NpcSpokeSchema } from "../gen/worldbus/npc/v1/npc_pb.js";
import { Client, Conflict, draft, worldTime, type About, type Anchor, type Draft, type Expected } from "../src/client.js";

globalThis.WebSocket ??= WebSocket as unknown as typeof globalThis.WebSocket;

const say = (said: object): void => void process.stdout.write(`${JSON.stringify(said)}\n`);
const [verb, url, world, ...rest] = process.argv.slice(2) as [string, string, string, ...string[]];
const [user, password] = [process.env["WORLDBUS_USER"] ?? "", process.env["WORLDBUS_PASSWORD"] ?? ""];

async function publish(client: Client, count: number, pauseMs: number): Promise<void> {
  const moved = (number: number) => ({ zone: "quay", x: number });
  const positions: number[] = [];
  let repeated = 0;
  say({ connected: true });
  for (let number = 0; number < count; number += 50) {
    const batch = Array.from({ length: Math.min(50, count - number) }, (_, offset) => number + offset);
    const said = batch.map((one) => client.publish(`p${one % 7}`, PlayerMovedSchema, moved(one), { id: `ts-${one}` }));
    if (pauseMs > 0) await new Promise((resume) => setTimeout(resume, pauseMs));
    for (const recorded of await Promise.all(said)) {
      positions.push(recorded.position);
      repeated += recorded.repeated ? 1 : 0;
    }
  }
  const in_order = positions.every((position, at) => at === 0 || position > (positions[at - 1] ?? 0));
  say({ recorded: positions.length, repeated, in_order });
}

async function refused(client: Client): Promise<void> {
  const names: string[] = [];
  const attempt = async (entity: string, init: object, about: About = {}) => {
    await client.publish(entity, PlayerMovedSchema, init, about).catch((error: Error) => names.push(error.constructor.name));
  };
  await attempt("a.b", {});
  await attempt("", {});
  await attempt("p", {}, { id: "with space" });
  await attempt("p", { zone: "x".repeat(300_000) });
  await attempt("p", { x: "no number" });
  await attempt("p", { x: Number.NaN });
  await attempt("p", { zone: "half a \ud83d" });
  await attempt("p", { zone: "nothing\0" });
  await attempt("p", {}, { time: new Date(Date.UTC(10_000, 0, 1)) });
  await attempt("p", {}, { time: new Date(Number.NaN) });
  const parked = (init: object) => client.publish("p", EventParkedSchema, init).catch((error: Error) => names.push(error.constructor.name));
  await parked({ handler: "player" });
  await parked({ firstFailedAt: { seconds: 1_796_001_898_136n } });
  const many = Array.from({ length: 1100 }, (_, number) => client.publish("p", PlayerMovedSchema, { x: number }).then(() => "", (error: Error) => error.constructor.name));
  say({ names, full: (await Promise.all(many)).filter((name) => name === "QueueFull").length });
}

async function hear(client: Client): Promise<void> {
  await client.follow(NpcSpokeSchema, ({ position, entity, data }) => say({ position, entity, text: data.text, player: data.player }));
  client.onMoment(({ now, scale, running }) => say({ hour: now?.hour, scale: Number(scale), running }));
  client.onChunk((chunk) => say({ chunk: chunk.text, attempt: chunk.attempt, last: chunk.last }));
  await client.publish("mira", PlayerSpokeSchema, { npc: "old-marten", text: "Have you seen the ferryman?" });
  say({ ready: true });
  await new Promise((resume) => process.stdin.once("data", resume));
}

/** Two game servers take the one coin that two purses hold together, each from its own purse: how often the rule held, and what was said. */
async function race(east: Client, rounds: number): Promise<void> {
  const west = await Client.connect({ url, world, user, password });
  let held = 0;
  for (let number = 0; number < rounds; number += 1) {
    const sides = [`east-${number}`, `west-${number}`] as const;
    const filled = number % 2;
    const coin = await east.publish(sides[filled]!, PlayerMovedSchema, { x: 1 });
    const expected = sides.map((entity, index) => ({ entity, position: index === filled ? coin.position : 0 }));
    const take = (entity: string) => [draft(entity, PlayerMovedSchema, { x: -1 }), draft(entity, PlayerMovedSchema, {})];
    const ended = await Promise.allSettled([east.publishGroup(take(sides[0]), expected), west.publishGroup(take(sides[1]), expected)]);
    const won = ended.findIndex((one) => one.status === "fulfilled");
    const lost = ended.find((one) => one.status === "rejected");
    const conflict = lost?.status === "rejected" && lost.reason instanceof Conflict ? lost.reason : undefined;
    if (conflict !== undefined && conflict.entity === sides[won] && conflict.found === coin.position + 2) held += 1;
  }
  await west.close();
  say({ held });
}

/** What becomes of groups, one after the other; waits for a word before the last ones. */
async function groups(client: Client): Promise<void> {
  const moved = (entity: string, id?: string): Draft => draft(entity, PlayerMovedSchema, {}, id === undefined ? {} : { id, time: new Date(0) });
  const end = async (drafts: Draft[], expected?: Expected[]): Promise<unknown> =>
    client.publishGroup(drafts, expected).then(
      (recorded) => recorded.map((one) => one.position),
      (error: Error) => (error instanceof Conflict ? [error.subsystem, error.entity, error.expected, error.found] : error.constructor.name),
    );
  const first = [moved("a", "g1"), moved("b", "g2")];
  const only = [moved("c", "g3"), moved("d", "g4")];
  const both = [{ entity: "a", position: 0 }, { entity: "b", position: 0 }];
  const read = [{ entity: "nobody", subsystem: "tools", position: 0 }];
  say({ ended: [await end(first, both), await end(first, both), await end(only, read), await end(only), await end([moved("a"), moved("b")], both)] });
  say({ ended: [await end([moved("a")], [{ entity: "b", position: 2 }]), await end([moved("a")], [{ entity: "b", position: 1 }])] });
  await new Promise((resume) => process.stdin.once("data", resume));
  say({ ended: [await end(first, both), await end([moved("a", "g1"), draft("b", PlayerMovedSchema, { x: 7 }, { id: "g2" })], both)] });
  const wrong: [Draft[], Expected[]][] = [
    [[], []],
    [[moved("a", "x"), moved("b", "x")], []],
    [[moved("a.b")], []],
    [[moved("a")], [{ entity: "a", position: -1 }]],
    [[moved("a")], [{ entity: "a", position: 1.5 }]],
    [[moved("a")], [{ entity: "a", position: 0 }, { entity: "b", position: 0 }]],
    [[moved("a"), moved("b")], [{ entity: "a", position: 0 }, { entity: "a", position: 1 }]],
    [[moved("a")], [{ entity: "*", position: 0 }]],
  ];
  const refused: unknown[] = [];
  for (const [drafts, expected] of wrong) refused.push(await end(drafts, expected));
  say({ ended: refused });
}

if (verb === "times") {
  const [anchor, moments] = [JSON.parse(rest[0] ?? "") as Anchor, rest.slice(1).map(Number)];
  say({ times: moments.map((nowMs) => worldTime(anchor, nowMs)) });
  process.exit(0);
}
const client = await Client.connect({ url, world, user, password });
if (verb === "publish") await publish(client, Number(rest[0]), Number(rest[1] ?? 0));
else if (verb === "refused") await refused(client);
else if (verb === "race") await race(client, Number(rest[0]));
else if (verb === "groups") await groups(client);
else await hear(client);
await client.flush();
await client.close();
process.exit(0);
