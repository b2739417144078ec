"""`worldbus kb search` and `worldbus kb reembed`: asking the knowledge base, and giving it another model."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from worldbus.cli.app import No
from worldbus.cli.kb import kb
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import Progress, remark, say, say_json

if TYPE_CHECKING:
    from projections.knowledge.reembed import Reembedded
    from projections.knowledge.search import Answer, Query
    from worldbus.settings import Settings

MODES = ("hybrid", "vector", "text")
SHOWN = 10  # differences
QUESTION = 100  # characters of one that are shown
ASKED_S = 2.0


@kb.command()
@click.argument("text")
@click.option(
    "--as",
    "who",
    metavar="WHO",
    default="anyone",
    show_default=True,
    help="Who asks: anyone, storyteller, a character (with its factions), or a player (by what they achieved).",
)
@click.option("--audience", metavar="TOKEN,…", help="Who asks, as tokens: public, npc:<id>, faction:<id>, progress:<quest>[=<outcome>].")
@click.option("--as-of", metavar="POSITION|TIME", help="What was known then: a position, a time, or how long ago: 90s, 15m, 2h.")
@click.option("--mode", type=click.Choice(MODES), default="hybrid", show_default=True)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only passages with this tag; may be repeated.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(["lore", "memory"]), help="Only passages of this kind.")
@click.option("--owner", default="", metavar="NPC", help="Only memories of this character.")
@click.option("--most", type=click.IntRange(1, 100), default=5, show_default=True, help="How many passages.")
@json_option
@settings_options(*PLACE, "world")
def search(
    text: str,
    who: str,
    audience: str | None,
    as_of: str | None,
    mode: str,
    tags: tuple[str, ...],
    kinds: tuple[str, ...],
    owner: str,
    most: int,
    as_json: bool,
    settings: Settings,
) -> None:
    """Search what somebody may know, now or then: passages with where they stand, best first.

    A score says how likely a passage answers, from 0 to 1; where none has 0.5, the passages are what comes nearest, and that is said.

    A running `up` or `demo` answers; without one the tables are asked directly. Exit code 1 if nothing was found.
    """
    from projections.knowledge.search import Query, check

    query = Query(
        world=settings.world, text=text, mode=mode, tags=tags, kinds=kinds, owner=owner, most=most  # type: ignore[arg-type]
    )  # fmt: skip
    check(query)
    answer = run(_search(settings, query, who, audience, as_of))
    if as_json:
        say_json(asdict(answer))
    else:
        _show(answer)
    if not answer.hits:
        raise No("")


async def _search(settings: Settings, query: Query, who: str, audience: str | None, as_of: str | None) -> Answer:
    from bus.connection import connect
    from bus.errors import Transient
    from projections.knowledge.search import open_search
    from projections.knowledge.serving import open_serving
    from projections.store import connected
    from worldbus.askers import tokens_of
    from worldbus.edges.search import ask
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers, connected(servers.postgres_dsn) as connection:
        position = await _position(servers.postgres_dsn, as_of)
        if audience is not None:
            tokens = tuple(token.strip() for token in audience.split(",") if token.strip())
        else:
            tokens = await tokens_of(connection, query.world, who, position)
        query = replace(query, tokens=tokens, as_of=position)
        if servers.nats_url and servers.nats is None:  # not ours alone: somebody may serve there
            try:
                async with connect(servers.nats_url, name="worldbus-kb-search", connect_timeout=1.0) as bus:
                    return await ask(bus, query, asker="" if who == "anyone" else who, timeout=ASKED_S)
            except Transient as error:
                remark(f"note: asking the tables directly ({error})")
        async with (
            open_serving(connection, first=settings.embedder, key=settings.embedder_key or "") as serving,
            open_search(servers.postgres_dsn, serving) as found,
        ):
            return await found.search(query)


async def _position(dsn: str, as_of: str | None) -> int | None:
    from projections.past import position_at
    from worldbus.cli.sql import parse_position_or_moment

    if as_of is None:
        return None
    at = parse_position_or_moment(as_of)
    return at if isinstance(at, int) else await position_at(dsn, at)


def _show(answer: Answer) -> None:
    from projections.knowledge.search import ANSWERS

    for number, hit in enumerate(answer.hits, start=1):
        where = f"{hit.document}, lines {hit.line_from}-{hit.line_to}" if hit.kind == "lore" else f"memory of {hit.document}"
        ranks = ", ".join(f"{name} {rank}" for name, rank in hit.ranks.items())
        say(f"{number}. {' > '.join(hit.heading) or hit.title or hit.document}")
        say(f"   {where} · passage {hit.passage_id} · recorded at position {hit.position} · score {hit.score:.2f} ({ranks})")
        say(f"   {hit.snippet}")
    if not answer.hits:
        say("nothing found")
    elif not answer.answered:
        say(
            f"probably nothing answers this: the best score is {max(hit.score for hit in answer.hits):.2f}, an answer has {ANSWERS} or more"
        )
    how = answer.mode + (f" with {answer.model}" if answer.model else "")
    say(f"{len(answer.hits)} passages, {how}, as of position {answer.as_of}, {answer.took_us / 1000:.1f} ms")


@kb.command()
@click.option(
    "--model", "name", required=True, metavar="EMBEDDER",
    help="minilm, hashing, openai+http://host:8000/v1?model=NAME or vllm+http://…  [key of an endpoint: WORLDBUS_EMBEDDER_KEY]",
)  # fmt: skip
@click.option("--no-switch", is_flag=True, help="Fill and compare only; searches go on with the model they use.")
@click.option(
    "--drop-old", is_flag=True, help="After the switch, forget the vectors of all other models; going back then means filling again."
)
@json_option
@settings_options(*PLACE, "world")
def reembed(name: str, no_switch: bool, drop_old: bool, as_json: bool, settings: Settings) -> None:
    """Give the knowledge base another model: filled beside the old one, compared by the questions asked last, switched in one transaction.

    Searches are answered all the while, by the old model up to the switch. What a killed run has filled stays filled.
    """
    done = run(_reembed(settings, name, no_switch, drop_old))
    if as_json:
        differences = [asdict(one) | {"overlap": one.overlap} for one in done.differences]
        say_json(asdict(done) | {"overlap": done.overlap, "differences": differences})
    else:
        _show_reembedded(done)


async def _reembed(settings: Settings, name: str, no_switch: bool, drop_old: bool) -> Reembedded:
    from projections.knowledge import vectors
    from projections.knowledge.reembed import reembed
    from projections.store import connected
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers:
        with Progress() as progress:
            done = await reembed(
                servers.postgres_dsn, name, key=settings.embedder_key or "", change=not no_switch,
                tell=lambda at, of: progress(f"{at} of {of} texts", at / max(1, of)),
            )  # fmt: skip
        if drop_old and done.switched:
            async with connected(servers.postgres_dsn) as connection:
                for one in await vectors.models(connection):
                    if one.state != "serving":
                        await vectors.drop(connection, one.model)
    return done


def _show_reembedded(done: Reembedded) -> None:
    say(f"{done.embedded} texts embedded with {done.now}")
    if done.differences:
        say(f"{len(done.differences)} questions asked of both: {done.overlap:.0%} of the old first hits are among the new ones")
        for one in sorted(done.differences, key=lambda one: one.overlap)[:SHOWN]:
            say(f"  {one.overlap:4.0%}  {one.question[:QUESTION]}{'…' if len(one.question) > QUESTION else ''}")
    elif done.was and done.was != done.now:
        say("no questions were logged to compare the two by")
    if done.switched:
        say(f"searches use {done.now} now" + (f", not {done.was}" if done.was else ""))
    else:
        say(f"searches use {done.was} as before")
