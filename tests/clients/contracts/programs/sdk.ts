/** The same with @hey-api/openapi-ts, whose clients also know streams of events. */

import { client } from "./sdk/client.gen.js";
import { look, publish, publishBatch, search, subscribe } from "./sdk/index.js";

const [baseUrl = "", token = ""] = process.argv.slice(2);
client.setConfig({ baseUrl, auth: token });

const body = {
  type: "worldbus.player.v1.PlayerJoined" as const,
  subject: "mira",
  id: "sdk-1",
  time: "2026-11-22T12:00:00Z",
  data: { display_name: "Mira", zone: "quay" },
};
const first = await publish({ body, throwOnError: true });
const again = await publish({ body, throwOnError: true });
const batch = await publishBatch({
  body: [
    { type: "worldbus.player.v1.PlayerMoved", subject: "mira", data: { zone: "market" } },
    { type: "worldbus.player.v1.PlayerLeft", subject: "mira" },
  ],
  throwOnError: true,
});
const read = await look({ path: { position: first.data.position }, throwOnError: true });
const found = await search({ query: { text: "lantern" }, throwOnError: true });

const streamed: unknown[] = [];
const { stream } = await subscribe({ query: { after: String(first.data.position - 1), event: ["PlayerJoined", "PlayerLeft"] } });
for await (const event of stream) {
  if (typeof event === "string") continue;
  streamed.push([event.id, event.type, event.subject, event.position]);
  if (event.type === "worldbus.player.v1.PlayerLeft") break;
}

console.log(
  JSON.stringify({
    first: [first.response.status, first.data.position, first.data.replayed],
    again: [again.response.status, again.data.position, again.data.replayed],
    batch: [batch.response.status, batch.data.results.map((one) => one.position)],
    read: [read.data.id, read.data.type, read.data.subject, read.data.world, read.data.position, read.data.data["display_name"]],
    hits: found.data.hits.map((hit) => hit.body),
    streamed,
  }),
);
process.exit(0);
