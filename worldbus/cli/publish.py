"""`worldbus publish`: say an event, or many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bus.errors import BadSettings, IdReused, WorldbusError
from worldbus.cli.app import app
from worldbus.cli.names import complete, events
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import Progress, remark, remark_made, say, say_json

if TYPE_CHECKING:
    from bus.event import Draft
    from worldbus.embedded import Servers
    from worldbus.once import Once, Placed
    from worldbus.opening import World
    from worldbus.settings import Settings

IN_FLIGHT = 1000
STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The words of the command line about the events it publishes."""

    type: str
    world: str
    entity: str | None
    subsystem: str
    id: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """An event that was read. `own_id`: its id was given, so it may be recorded already."""

    draft: Draft
    own_id: bool


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

    An event with an id of its own is recorded once, however often and whenever it is published: again it has the same position. A time that
    is not given is no part of it. Another event under the same id is refused with exit code 1. With --json each event is a line with its
    position, id, subject, and whether it was there before (replayed).
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
        run(_publish_one(settings, _read(wish, payload), expected, as_json))


def _read(wish: Wish, text: str) -> Read:
    """The event of one JSON text. Raises `Rejected` with all that is wrong said."""
    from bus.json_format import parse
    from worldbus.games import current

    value = parse(text)
    read = _document(wish, value) if wish.type == STDIN else _payload(wish, value)
    current().check_plays(read.draft.world)
    current().emitters.check(read.draft.subsystem, read.draft.data.DESCRIPTOR.full_name)
    return read


def _payload(wish: Wish, data: Any) -> Read:
    """An event whose fields are `data`."""
    from bus.check import check_id, check_type
    from bus.draft import Draft, new_id
    from bus.json_format import payload_from_json
    from bus.subjects import check_token

    message = payload_from_json(check_type(wish.type), data)
    entity, subsystem = check_token(wish.entity or "", "entity"), check_token(wish.subsystem, "subsystem")
    own = check_id(wish.id) if wish.id else new_id()
    return Read(Draft(data=message, world=wish.world, entity=entity, subsystem=subsystem, id=own), bool(wish.id))


def _document(wish: Wish, document: Any) -> Read:
    """A whole CloudEvent; world and entity are filled in where it has none."""
    from bus.json_format import from_document

    if isinstance(document, dict):
        given = {"world": wish.world, "subject": wish.entity}
        document = {name: value for name, value in given.items() if value and document.get(name) is None} | {
            name: value for name, value in document.items() if value is not None or name not in given
        }
    draft = from_document(document, subsystem=wish.subsystem)
    return Read(draft, document.get("id") is not None)


async def _publish_one(settings: Settings, read: Read, expected: int | None, as_json: bool) -> None:
    async with AsyncExitStack() as stack:
        door = await _open(stack, settings)
        (future,) = await door.submit([read], expected)
        await _land(door, deque([(0, read.draft, future)]), as_json)
        _hint(door.world.servers)


async def _publish_lines(settings: Settings, wish: Wish, as_json: bool) -> None:
    """In order, many in flight. The first event that is refused ends it; all events before it are in the log, and some behind it may be."""
    from worldbus.cli.stdin import lines

    flying: Flying = deque()
    done = 0
    async with AsyncExitStack() as stack:
        door = await _open(stack, settings)
        with Progress() as progress:
            try:
                async for some in lines():
                    await _take(door, wish, some, flying)
                    while len(flying) > IN_FLIGHT or (flying and flying[0][2].done()):
                        await _land(door, flying, as_json)
                        done += 1
                        progress(f"{done} events published")
            finally:
                await _land_all(door, flying, as_json)
        _hint(door.world.servers)


Flying = deque[tuple[int, "Draft", "asyncio.Future[Placed]"]]
"""Events on their way, each with the number of its line."""


async def _take(door: _Door, wish: Wish, some: Sequence[tuple[int, str]], flying: Flying) -> None:
    """Send the events of some lines; those before a bad one are sent before its error is raised."""
    read: list[tuple[int, Read]] = []
    try:
        for number, line in some:
            with _Line(number):
                read.append((number, _read(wish, line)))
    finally:
        futures = await door.submit([one for _, one in read])
        flying.extend((number, one.draft, future) for (number, one), future in zip(read, futures, strict=True))


async def _open(stack: AsyncExitStack, settings: Settings) -> _Door:
    from worldbus.opening import open_world

    return _Door(stack, await stack.enter_async_context(open_world(settings, name="worldbus-publish", postgres=False)))


class _Door:
    """The way into the log. Ids are looked up from the first event on that has one of its own; nothing is read before."""

    def __init__(self, stack: AsyncExitStack, world: World) -> None:
        self.world = world
        self._stack = stack
        self._once: Once | None = None

    async def submit(self, read: Sequence[Read], expected: int | None = None) -> list[asyncio.Future[Placed]]:
        """Send events, in order; each future ends with its place."""
        if self._once is None and any(one.own_id for one in read):
            from worldbus.once import open_once

            self._once = await self._stack.enter_async_context(open_once(self.world))
        if self._once is not None:
            own = {one.draft.id for one in read if one.own_id}
            return await self._once.submit([one.draft for one in read], own=own, expected=expected)
        await self.world.publisher.room()
        return [_placed(self.world.publisher.submit(one.draft, expected=expected)) for one in read]


def _placed(future: asyncio.Future[int]) -> asyncio.Future[Placed]:
    from worldbus.once import Placed

    async def place() -> Placed:
        return Placed(await future, False)

    return asyncio.ensure_future(place())


async def _land_all(door: _Door, flying: Flying, as_json: bool) -> None:
    """Every answer is waited for; of several errors the first one counts."""
    problem: WorldbusError | None = None
    while flying:
        try:
            await _land(door, flying, as_json)
        except WorldbusError as error:
            problem = problem or error
    if problem is not None:
        raise problem


async def _land(door: _Door, flying: Flying, as_json: bool) -> None:
    number, draft, future = flying.popleft()
    with _Line(number):
        try:
            _say(draft, await future, as_json)
        except IdReused as error:
            last = (await door.world.log.state()).last
            error.args = (f"{error} (the log ends at position {last})",)
            raise


class _Line:
    """Errors inside the block name the line of stdin; 0 is no line."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WorldbusError) and self._number:
            error.args = (f"line {self._number}: {error}",)


def _hint(servers: Servers) -> None:
    remark_made(servers)
    if servers.nats is not None:
        remark("recorded; no handler runs on this data folder at the moment: `worldbus up` takes it up")


def _say(draft: Draft, placed: Placed, as_json: bool) -> None:
    if as_json:
        subject = draft.subject.published()
        say_json({"position": placed.position, "id": draft.id, "subject": subject, "replayed": placed.replayed})
    else:
        say(f"{placed.position} {draft.subject.published()}")
