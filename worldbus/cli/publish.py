"""`worldbus publish`: say an event, or many."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bus.errors import BadEvent, BadSettings, WorldbusError
from worldbus.cli.app import app
from worldbus.cli.names import complete, events
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import Progress, remark, remark_made, say, say_json

if TYPE_CHECKING:
    from bus.event import Draft
    from worldbus.embedded import Servers
    from worldbus.settings import Settings

IN_FLIGHT = 1000
STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says about the events it publishes."""

    type: str
    world: str
    entity: str | None
    subsystem: str
    id: str | None

    def draft(self, data: Any) -> Draft:
        """The draft of one event whose fields are `data`."""
        from bus.check import check_id, check_type
        from bus.event import Draft, new_id
        from bus.json_format import payload_from_json
        from bus.subjects import check_token

        message = payload_from_json(check_type(self.type), data)
        entity, subsystem = check_token(self.entity or "", "entity"), check_token(self.subsystem, "subsystem")
        return Draft(data=message, world=self.world, entity=entity, subsystem=subsystem, id=check_id(self.id) if self.id else new_id())

    def document(self, document: Any) -> Draft:
        """The draft of a whole CloudEvent; world and entity are filled in where it has none."""
        from bus.json_format import from_json

        if isinstance(document, dict):
            given = {"world": self.world, "subject": self.entity, "source": f"/worldbus/{self.subsystem}"}
            document = {key: value for key, value in given.items() if value} | document
        return from_json(json.dumps(document))


@app.command()
@click.argument("type_", metavar="TYPE", shell_complete=complete(events))
@click.option("--entity", help="Who or what it is about: a player, a zone, `clock`.")
@click.option(
    "--data", "payload", metavar="JSON", default="{}", show_default=True, help="The event's fields, or - for one object per line of stdin."
)
@click.option("--id", "event_id", help="The event's id. The same id again is the same event: safe to repeat.  [default: a new one]")
@click.option("--subsystem", default="game", show_default=True, help="Who says it.")
@click.option(
    "--expected", type=click.IntRange(0), help="Only if the subsystem's last event about the entity has this position (0: there is none)."
)
@json_option
@settings_options(*PLACE, "world", "durability", former_data=False)
def publish(type_: str, entity: str | None, payload: str, event_id: str | None, subsystem: str, expected: int | None, as_json: bool,
            settings: Settings) -> None:  # fmt: skip
    """Publish events, and print their positions in the log.

    TYPE is an event's name, simple (PlayerJoined) or full (worldbus.player.v1.PlayerJoined), or - to read whole CloudEvents from
    stdin, one JSON document per line, as `worldbus replay --json` prints them. Exit code 0 means that every event is in the log. In a data
    folder without a world, the first event makes one, and says so.
    """
    many = type_ == STDIN or payload == STDIN
    if many and (event_id or expected is not None):
        raise BadSettings("--id and --expected are about one event: leave them out when reading many from stdin")
    if type_ != STDIN and not entity:
        raise BadSettings("wanted --entity, the one that the event is about, found none")
    wish = Wish(type=type_, world=settings.world, entity=entity, subsystem=subsystem, id=event_id)
    if many:
        run(_publish_lines(settings, wish, as_json))
    else:
        run(_publish_one(settings, _draft(wish, payload), expected, as_json))


def _draft(wish: Wish, text: str) -> Draft:
    """The draft of one JSON text. Raises `Rejected` with all that is wrong said."""
    from bus.json_format import parse

    value = parse(text)
    return wish.document(value) if wish.type == STDIN else wish.draft(value)


async def _publish_one(settings: Settings, draft: Draft, expected: int | None, as_json: bool) -> None:
    from worldbus.opening import open_world

    async with open_world(settings, name="worldbus-publish", postgres=False) as world:
        _say(draft, await world.publisher.publish(draft, expected=expected), as_json)
        _hint(world.servers)


async def _publish_lines(settings: Settings, wish: Wish, as_json: bool) -> None:
    """In order, many in flight. The first event that is refused ends it; all events before it are in the log, and some behind it may be."""
    from worldbus.opening import open_world

    flying: deque[tuple[int, Draft, asyncio.Future[int]]] = deque()
    done = 0
    async with open_world(settings, name="worldbus-publish", postgres=False) as world:
        with Progress() as progress:
            try:
                async for number, line in _lines():
                    with _Line(number):
                        draft = _draft(wish, line)
                    flying.append((number, draft, world.publisher.submit(draft)))
                    while len(flying) > IN_FLIGHT or (flying and flying[0][2].done()):
                        await _land(flying, as_json)
                        done += 1
                        progress(f"{done} events published")
            finally:
                await _land_all(flying, as_json)
        _hint(world.servers)


async def _land_all(flying: deque[tuple[int, Draft, asyncio.Future[int]]], as_json: bool) -> None:
    """Every answer is waited for; of several errors the first one counts."""
    problem: WorldbusError | None = None
    while flying:
        try:
            await _land(flying, as_json)
        except WorldbusError as error:
            problem = problem or error
    if problem is not None:
        raise problem


async def _land(flying: deque[tuple[int, Draft, asyncio.Future[int]]], as_json: bool) -> None:
    number, draft, future = flying.popleft()
    with _Line(number):
        _say(draft, await future, as_json)


class _Line:
    """Errors inside the block name the line of stdin."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WorldbusError):
            error.args = (f"line {self._number}: {error}",)


async def _lines() -> AsyncIterator[tuple[int, str]]:
    """Lines of stdin that are not empty, with their numbers; reading does not hold up what is in flight."""
    number = 0
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        number += 1
        if line.strip():
            try:
                yield number, line.decode()
            except UnicodeDecodeError as error:
                raise BadEvent(f"line {number}: wanted UTF-8, found {error.reason}", code="BAD_UTF8") from error


def _hint(servers: Servers) -> None:
    remark_made(servers)
    if servers.nats is not None:
        remark("recorded; no handler runs on this data folder at the moment: `worldbus up` takes it up")


def _say(draft: Draft, position: int, as_json: bool) -> None:
    if as_json:
        say_json({"position": position, "id": draft.id, "subject": draft.subject.published()})
    else:
        say(f"{position} {draft.subject.published()}")
