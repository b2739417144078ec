/**
 * A visitor in Duskmarket: walks, speaks to people, hears them chunk by chunk, sees the weather.
 *
 * Whatever comes from the bus is put into the page as text, never as HTML: words of models and of other players may hold anything.
 */

import { Client, Unknown, type About } from "worldbus-client";
import { InferenceStartedSchema } from "worldbus-client/gen/worldbus/inference/v1/inference_pb.js";
import type { TokensDelivered } from "worldbus-client/gen/worldbus/inference/v1/types_pb.js";
import { NpcActedSchema, NpcKeptSilentSchema, NpcSpokeSchema } from "worldbus-client/gen/worldbus/npc/v1/npc_pb.js";
import { PlayerSpokeSchema } from "worldbus-client/gen/worldbus/game/v1/game_pb.js";
import { PlayerHeartbeatSchema, PlayerJoinedSchema, PlayerLeftSchema, PlayerMovedSchema } from "worldbus-client/gen/worldbus/player/v1/player_pb.js";
import { TimeOfDayChangedSchema } from "worldbus-client/gen/worldbus/time/v1/time_pb.js";
import { WeatherChangedSchema } from "worldbus-client/gen/worldbus/weather/v1/weather_pb.js";
import { nameOf, PEOPLE, PLACES, titleOf } from "./world.js";

type Publish = Parameters<Client["publish"]>;

const HEARTBEAT_MS = 20_000; // the world takes a visitor without a sign of life for a minute as gone
const MOST_SHOWN = 200; // lines
const MOST_OPEN = 100; // answers of which we wait for more

const at = <Kind extends Element>(selector: string): Kind => {
  const found = document.querySelector<Kind>(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return found;
};

/** An answer that is being spoken: who does, as soon as we know, and its chunks. */
interface Answer {
  npc: string | undefined;
  text: string;
  attempt: number;
  line: HTMLElement | undefined;
}

class Visit {
  private place = "quay";
  private readonly where = new Map(Object.entries(PEOPLE).map(([npc, { home }]) => [npc, home]));
  private readonly skies = new Map<string, string>();
  private readonly answers = new Map<string, Answer>();

  constructor(private readonly bus: Client, private readonly player: string, private readonly name: string) {}

  async begin(): Promise<void> {
    this.bus.onStatus((connected) => this.showState(connected));
    this.showState(true);
    await this.bus.follow(WeatherChangedSchema, ({ entity, data }) => this.weather(entity, data.sky), { latest: true });
    await this.bus.follow(TimeOfDayChangedSchema, ({ data }) => void (at("#hour").textContent = data.now?.timeOfDay ?? ""), { latest: true });
    await this.bus.follow(NpcActedSchema, ({ entity, data }) => this.stands(entity, data.place), { latest: true });
    await this.bus.follow(NpcSpokeSchema, ({ entity, data }) => this.spoke(entity, data.player, data.text, data.requestId));
    await this.bus.follow(NpcKeptSilentSchema, ({ entity, data }) => this.silent(entity, data.player, data.code));
    await this.bus.follow(InferenceStartedSchema, ({ data }) => this.started(data.requestId, data.requesterEntity));
    this.bus.onChunk((chunk) => this.chunk(chunk));
    this.tell(PlayerJoinedSchema, { displayName: this.name, platform: "browser", gameServer: "page", zone: this.place });
    setInterval(() => this.tell(PlayerHeartbeatSchema, {}), HEARTBEAT_MS);
    addEventListener("pagehide", () => this.tell(PlayerLeftSchema, { reason: "closed the page" }));
    this.showPlace();
  }

  walk(place: string): void {
    this.place = place;
    this.tell(PlayerMovedSchema, { zone: place });
    this.showPlace();
  }

  say(npc: string, text: string): void {
    const line = this.line(`${this.name} to ${nameOf(npc)}`, text, "mine");
    line.dataset["state"] = "waiting";
    this.tell(PlayerSpokeSchema, { npc, place: this.place, text }, () => (line.dataset["state"] = "recorded"));
  }

  /** Publish until the log has it: an event without an answer goes out again with the same id, which is recorded once. */
  private tell(schema: Publish[1], data: Publish[2], then: () => void = () => {}, about: About = { id: crypto.randomUUID() }): void {
    this.bus.publish(this.player, schema, data, about).then(then, (error: unknown) => {
      if (error instanceof Unknown) this.tell(schema, data, then, about);
      else this.told(`That was not heard: ${String(error)}`);
    });
  }

  // -- what is heard -----------------------------------------------------------------------------------------------------------------

  private weather(place: string, sky: string): void {
    this.skies.set(place, sky);
    if (place === this.place) at("#sky").textContent = sky;
  }

  private stands(npc: string, place: string): void {
    if (this.where.get(npc) === place) return;
    if (this.where.get(npc) === this.place) this.told(`${nameOf(npc)} leaves for ${titleOf(place)}.`);
    this.where.set(npc, place);
    if (place === this.place) this.told(`${nameOf(npc)} comes.`);
    this.showPeople();
  }

  private started(request: string, npc: string): void {
    const answer = this.answer(request);
    answer.npc = npc;
    this.show(answer);
  }

  private chunk({ requestId, attempt, text, last }: TokensDelivered): void {
    const answer = this.answer(requestId);
    if (attempt > answer.attempt) answer.text = "";
    answer.attempt = attempt;
    answer.text = [answer.text, text].filter((part) => part !== "").join(" ");
    if (last && answer.line !== undefined) delete answer.line.dataset["state"];
    this.show(answer);
  }

  /** The whole line, as the log has it: it takes the place of what was heard in chunks. */
  private spoke(npc: string, player: string, text: string, request: string): void {
    const known = this.answers.get(request);
    this.answers.delete(request);
    if (known?.line !== undefined) {
      known.line.replaceChildren(...parts(nameOf(npc), text));
      delete known.line.dataset["state"];
    } else if (player === this.player || this.where.get(npc) === this.place) {
      this.line(nameOf(npc), text);
    }
  }

  private silent(npc: string, player: string, code: string): void {
    if (player === this.player && code !== "TALKED_OVER") this.told(`${nameOf(npc)} says nothing (${code.toLowerCase().replaceAll("_", " ")}).`);
  }

  private answer(request: string): Answer {
    const known = this.answers.get(request) ?? { npc: undefined, text: "", attempt: 0, line: undefined };
    this.answers.set(request, known);
    for (const oldest of this.answers.keys()) {
      if (this.answers.size <= MOST_OPEN) break;
      this.answers.delete(oldest);
    }
    return known;
  }

  /** An answer as far as it is spoken, if it is spoken here. */
  private show(answer: Answer): void {
    if (answer.npc === undefined || answer.text === "" || this.where.get(answer.npc) !== this.place) return;
    if (answer.line === undefined) {
      answer.line = this.line(nameOf(answer.npc), answer.text);
      answer.line.dataset["state"] = "speaking";
    } else {
      answer.line.replaceChildren(...parts(nameOf(answer.npc), answer.text));
    }
  }

  // -- what is seen ------------------------------------------------------------------------------------------------------------------

  private line(who: string, text: string, kind = "heard"): HTMLElement {
    const line = document.createElement("li");
    line.className = kind;
    line.append(...parts(who, text));
    const said = at<HTMLElement>("#said");
    said.append(line);
    while (said.childElementCount > MOST_SHOWN) said.firstElementChild?.remove();
    line.scrollIntoView();
    return line;
  }

  private told(text: string): void {
    this.line("", text, "told");
  }

  private showState(connected: boolean): void {
    const state = at<HTMLElement>("#state");
    state.dataset["state"] = connected ? "here" : "away";
    state.textContent = connected ? "" : "The town is out of hearing. What you say waits.";
  }

  private showPlace(): void {
    at("#place").textContent = titleOf(this.place);
    at("#sky").textContent = this.skies.get(this.place) ?? "";
    const ways = (PLACES[this.place]?.ways ?? []).map((way) => {
      const button = document.createElement("button");
      button.textContent = titleOf(way);
      button.addEventListener("click", () => this.walk(way));
      return button;
    });
    at("#ways").replaceChildren(...ways);
    this.showPeople();
  }

  private showPeople(): void {
    const select = at<HTMLSelectElement>("#speak select");
    const chosen = select.value;
    const here = [...this.where].filter(([, place]) => place === this.place).map(([npc]) => new Option(nameOf(npc), npc));
    select.replaceChildren(...here);
    if (here.some((one) => one.value === chosen)) select.value = chosen;
    for (const part of at<HTMLFormElement>("#speak").querySelectorAll<HTMLInputElement>("input, select, button")) part.disabled = here.length === 0;
  }
}

/** Who, and what they say: text, whatever it holds. */
function parts(who: string, text: string): (Node | string)[] {
  if (who === "") return [text];
  const name = document.createElement("span");
  name.className = "who";
  name.textContent = `${who}: `;
  return [name, text];
}

/** A name as a token of the bus. */
function slug(name: string): string {
  const plain = name.normalize("NFKD").replaceAll(/\p{Mark}/gu, "").replaceAll(/[^A-Za-z0-9]+/g, "-").replaceAll(/^-|-$/g, "").toLowerCase();
  return plain.slice(0, 60) || "visitor";
}

async function enter(bus: string, world: string, name: string): Promise<Visit> {
  const address = new URL(bus);
  const [user, password] = [decodeURIComponent(address.username), decodeURIComponent(address.password)];
  address.username = address.password = "";
  const client = await Client.connect({ url: address.href, world, ...(user === "" ? {} : { user, password }) });
  const visit = new Visit(client, slug(name), name);
  await visit.begin();
  return visit;
}

const door = at<HTMLFormElement>("#door");
for (const [field, value] of new URLSearchParams(location.hash.slice(1))) {
  const input = door.elements.namedItem(field);
  if (input instanceof HTMLInputElement) input.value = value;
}
door.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = new FormData(door);
  const [bus, world, name] = ["bus", "world", "name"].map((field) => String(given.get(field)).trim()) as [string, string, string];
  enter(bus, world, name).then(
    (visit) => {
      door.hidden = true;
      at<HTMLElement>("main").hidden = false;
      at("#speak").addEventListener("submit", (spoken) => {
        spoken.preventDefault();
        const speak = spoken.currentTarget as HTMLFormElement;
        const words = speak.elements.namedItem("words") as HTMLInputElement;
        visit.say(String(new FormData(speak).get("npc")), words.value);
        words.value = "";
        words.focus();
      });
    },
    (error: unknown) => void (at("#problem").textContent = `The town does not answer: ${String(error)}`),
  );
});
