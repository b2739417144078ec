"""`worldbus why`: the chain of events that led to one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from worldbus.cli.app import app
from worldbus.cli.options import json_option, run, settings_options
from worldbus.cli.output import say, say_json
from worldbus.cli.parked import explanation

if TYPE_CHECKING:
    from worldbus.settings import Settings
    from worldbus.why import Chain, Link, Shown

WIDTH = 160  # characters of a text that is shown in a line
_ASIDE = ("prompt", "measured", "citations", "knowledge", "fallback", "jsonSchema", "considered")


@app.command()
@click.argument("event")
@json_option
@settings_options("data", "postgres_dsn", "reader_dsn")
def why(event: str, as_json: bool, settings: Settings) -> None:
    """Show what led to EVENT (its position or its id), from the first cause on, and what it led to.

    Where a model was asked, its prompt is shown part by part; where it answered, the passages it was shown, what the answer took and what
    it cost. Everything is read from the archive.
    """
    chain = run(_why(settings, event))
    if as_json:
        say_json(as_dict(chain))
        return
    for line in lines(chain):
        say(line)


async def _why(settings: Settings, event: str) -> Chain:
    from projections.store import close, connect
    from worldbus.servers import open_servers
    from worldbus.why import why as chain_of

    async with open_servers(settings, nats=False) as servers:
        connection = await connect(servers.reader_dsn)
        try:
            return await chain_of(connection, event)
        finally:
            await close(connection)


def lines(chain: Chain) -> Iterator[str]:
    """The chain for people, indented by its hops."""
    for hop, link in enumerate(chain.links):
        indent = "  " * hop
        yield f"{indent}{'└ ' if hop else ''}{_head(link)}"
        for line in (*_decided(link), *_asked(link), *_answered(link)):
            yield f"{indent}      {line}"
    yield ""
    hops = len(chain.links) - 1
    cost = f", ${chain.cost_nano_usd / 1e9:.9f}" if chain.cost_nano_usd else ""
    yield f"{hops} hop{'' if hops == 1 else 's'} from the first cause, {chain.took_ms:.1f} ms{cost}."
    for row in chain.parked:
        yield f"It waits in {row['handler']}/{row['entity']} of world {row['world']!r}:"
        yield from (f"  {text}" for text in explanation(row))
    if chain.effects:
        led = ", ".join(f"{position} {subsystem}:{entity} {name}" for position, subsystem, entity, name in chain.effects)
        yield f"It led to: {led}"


def _head(link: Link) -> str:
    event = link.event
    clock = str(link.document.get("recorded", ""))[11:23].rstrip("Z")
    who = f"{event.position} {clock}  {event.subsystem}:{event.entity}  {event.name}"
    fields = {name: value for name, value in dict(link.document.get("data", {})).items() if name not in _ASIDE}
    text = f"{who} {_short(json.dumps(fields, ensure_ascii=False)) if fields else ''}".rstrip()
    return f"{text}  unreadable: {link.problem}" if link.problem else text


def _decided(link: Link) -> Iterator[str]:
    """The rules that made it."""
    if not link.problem and link.event.producer_version:
        yield f"decided by {link.event.producer_version}"


def _asked(link: Link) -> Iterator[str]:
    """The request as a model was to be shown it."""
    data: Any = link.document.get("data", {})
    for part in data.get("prompt", ()) if link.event.name == "InferenceRequested" else ():
        source = f" (from position {part['position']})" if part.get("position") else ""
        yield f"{part.get('role')} {part.get('name')}{source}: {_short(part.get('text', ''))}"
    if wanted := data.get("knowledge"):
        yield f"looked up for {', '.join(wanted.get('audience', ()))}: {_short(wanted.get('query', ''))}"


def _answered(link: Link) -> Iterator[str]:
    took = link.measured
    if took is None:
        return
    for number, shown in enumerate(link.passages, start=1):
        yield f"shown {number}: {_source(shown)}: {_short(shown.text) or 'not in the knowledge base any more'}"
    if took.knowledge:
        yield f"knowledge base: {took.knowledge}, {took.retrieval_us / 1000:.1f} ms"
    if took.model or took.engine:
        yield (
            f"by {took.model or took.engine} on {took.worker}: asked after {took.queue_us / 1000:.1f} ms, "
            f"first words {took.first_chunk_us / 1000:.1f} ms later, all after {took.total_us / 1000:.1f} ms"
        )
        yield (
            f"{took.prompt_tokens} tokens read ({took.cached_tokens} cached), {took.completion_tokens} written, "
            f"${took.cost_nano_usd / 1e9:.9f}, prompt {took.prompt_hash or 'none'}"
        )


def _source(shown: Shown) -> str:
    said = shown.citation
    if said.kind == "memory":
        return f"{said.document}'s memory of position {said.position}"
    where = " > ".join(said.heading) or said.document
    return f"{where} ({said.document}, lines {said.line_from}-{said.line_to}, as of position {said.position})"


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= WIDTH else plain[: WIDTH - 1] + "…"


def as_dict(chain: Chain) -> dict[str, Any]:
    """The chain for scripts: whole events, and the words of the passages beside their citations."""
    from google.protobuf.json_format import MessageToDict

    links = []
    for link in chain.links:
        shown = [{**MessageToDict(one.citation), "text": one.text} for one in link.passages]
        links.append({**link.document, **({"passages": shown} if shown else {}), **({"problem": link.problem} if link.problem else {})})
    effects = [dict(zip(("position", "subsystem", "entity", "name"), one, strict=True)) for one in chain.effects]
    parked = [dict(row) for row in chain.parked]
    return {"chain": links, "effects": effects, "parked": parked, "took_ms": round(chain.took_ms, 3), "cost_nano_usd": chain.cost_nano_usd}
