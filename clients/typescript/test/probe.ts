/** What the tests run in node: publishes or hears, and says JSON lines. `WebSocket` is a browser's; node before 22 takes it from `ws`. */

import { WebSocket } from "ws";

import { PlayerMovedSchema } from "../gen/worldbus/player/v1/player_pb.js";
import { PlayerSpokeSchema } from "../gen/worldbus/game/v1/game_pb.js";
import { NpcSpokeSchema } from "../gen/worldbus/npc/v1/npc_pb.js";
import { Client, worldTime, type About, type Anchor } from "../src/client.js";

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

if (verb === "times") {
  const [anchor, moments] = [JSON.parse(rest[0] ?? "") as Anchor, rest.slice(1).map(Number)];
  say({ times: moments.map((nowMs) => worldTime(anchor, nowMs)) });
  process.exit(0);
}
const client = await Client.connect({ url, world, user, password });
if (verb === "publish") await publish(client, Number(rest[0]), Number(rest[1] ?? 0));
else if (verb === "refused") await refused(client);
else await hear(client);
await client.flush();
await client.close();
process.exit(0);
