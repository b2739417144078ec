/** What a game server would write with openapi-typescript and openapi-fetch: publishes, sends again, reads, searches. */

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [baseUrl = "", token = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

type Event = components["schemas"]["CloudEvent"];
const join: Event = {
  type: "worldbus.player.v1.PlayerJoined",
  subject: "mira",
  id: "fetch-1",
  expected: 0,
  time: "2026-11-22T12:00:00Z",
  data: { display_name: "Mira", zone: "quay" },
};

const first = await client.POST("/v1/events", { body: join });
if (first.data === undefined) throw new Error(first.error.detail);
const again = await client.POST("/v1/events", { body: join });
const batch = await client.POST("/v1/batches", {
  params: { query: { atomic: true, expected: ["game/otto:0"] } },
  body: [
    { type: "worldbus.player.v1.PlayerMoved", subject: "mira", expected: first.data.position, data: { zone: "market", x: 3.5 } },
    { type: "worldbus.player.v1.PlayerLeft", subject: "mira" },
    { type: "worldbus.payment.v1.PurchaseRequested", subject: "mira", data: {} },
  ],
});
const stale = await client.POST("/v1/events", { body: { ...join, id: "fetch-2" } });
const read = await client.GET("/v1/events/{position}", { params: { path: { position: first.data.position } } });
const event = read.data;
if (event === undefined) throw new Error(read.error.detail);
const found = await client.GET("/v1/search", { params: { query: { text: "lantern", kinds: ["lore"], tokens: ["public"] } } });
const hits: string[] | undefined = found.data?.hits.map((hit) => hit.body);

export async function doesNotCompile(): Promise<void> {
  // @ts-expect-error a field that the type does not have
  await client.POST("/v1/events", { body: { type: "worldbus.player.v1.PlayerJoined", subject: "mira", data: { name: "Mira" } } });
  // @ts-expect-error the data of another type
  await client.POST("/v1/events", { body: { type: "worldbus.player.v1.PlayerLeft", subject: "mira", data: { zone: "quay" } } });
  // @ts-expect-error no such type
  await client.POST("/v1/events", { body: { type: "worldbus.player.v1.PlayerJumped", subject: "mira" } });
  // @ts-expect-error nobody it is about
  await client.POST("/v1/events", { body: { type: "worldbus.player.v1.PlayerLeft" } });
}

console.log(
  JSON.stringify({
    first: [first.response.status, first.data.position, first.data.replayed],
    again: [again.response.status, again.data?.position, again.data?.replayed],
    batch: [batch.response.status, batch.data?.results.map((one) => one.position)],
    stale: [stale.response.status, stale.error?.code, stale.error?.found],
    read: [event.id, event.type, event.subject, event.world, event.position, event.data["display_name"]],
    hits,
  }),
);
