"""`worldbus parked`: lanes that wait behind an input nobody could decide."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from bus.errors import BadSettings
from worldbus.cli.app import No, app
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import remark, say, say_json, table

if TYPE_CHECKING:
    from bus.event import Event
    from worldbus.opening import World
    from worldbus.settings import Settings

OPERATOR = "operator"
_LIST = """
    SELECT world, handler, entity, input, status, code, reason, type, event_id, attempts, retries, handler_version, since
      FROM parked ORDER BY world, handler, entity, input
"""
_ENDINGS = frozenset({"LaneInputRetried", "LaneRetryFailed", "LaneInputDropped"})


@app.group()
def parked() -> None:
    """Inputs that could not be decided, and the lanes that wait behind them.

    A lane is one handler's work on one entity, written HANDLER/ENTITY. Other lanes go on.
    """


@parked.command("list")
@json_option
@settings_options("data", "postgres_dsn", "reader_dsn")
def list_(as_json: bool, settings: Settings) -> None:
    """Every input that waits: parked (it failed) or deferred (it is behind one that failed)."""
    rows = run(_rows(settings))
    if as_json:
        for row in rows:
            say_json(row)
        return
    shown = [(f"{row['handler']}/{row['entity']}", row["world"], row["input"], row["status"], row["code"], row["reason"]) for row in rows]
    say(table(shown, ("lane", "world", "input", "status", "code", "reason")) if rows else "nothing is parked")


@parked.command()
@click.argument("lane", metavar="HANDLER/ENTITY")
@json_option
@settings_options(*PLACE, "reader_dsn", "world")
def show(lane: str, as_json: bool, settings: Settings) -> None:
    """What waits in one lane, with the events themselves."""
    handler, entity = _lane(lane)
    rows = [row for row in run(_rows(settings)) if (row["handler"], row["entity"], row["world"]) == (handler, entity, settings.world)]
    if not rows:
        raise No(f"nothing is parked in lane {lane} of world {settings.world!r}")
    run(_show(settings, rows, as_json))


@parked.command()
@click.argument("lanes", metavar="HANDLER/ENTITY...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every parked lane of every world.")
@click.option("--reason", default="", help="Why, for the record.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait for the outcome; 0: do not."
)
@json_option
@settings_options(*PLACE, "reader_dsn", "world", "durability")
def retry(lanes: tuple[str, ...], everything: bool, reason: str, wait_s: float, as_json: bool, settings: Settings) -> None:
    """Let lanes decide their parked and deferred inputs again, in order. Exit code 1 if one of them failed again or nobody answered."""
    if bool(lanes) == everything:
        raise BadSettings("wanted lanes as HANDLER/ENTITY, or --all, found " + ("both" if everything else "neither"))
    if everything:
        chosen = list(dict.fromkeys((row["world"], row["handler"], row["entity"]) for row in run(_rows(settings))))
    else:
        chosen = [(settings.world, *_lane(lane)) for lane in lanes]
    run(_order(settings, chosen, None, reason, wait_s, as_json))


@parked.command()
@click.argument("lane", metavar="HANDLER/ENTITY")
@click.option("--input", "position", type=click.IntRange(1), required=True, help="Position of the parked input, as `parked list` shows it.")
@click.option("--reason", default="", help="Why, for the record.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait for the outcome; 0: do not."
)
@json_option
@settings_options(*PLACE, "world", "durability")
def drop(lane: str, position: int, reason: str, wait_s: float, as_json: bool, settings: Settings) -> None:
    """Give up the parked input of a lane: it will never be decided there, and the lane goes on behind it."""
    run(_order(settings, [(settings.world, *_lane(lane))], position, reason, wait_s, as_json))


def _lane(text: str) -> tuple[str, str]:
    from bus.subjects import check_token

    handler, slash, entity = text.partition("/")
    if not slash:
        raise BadSettings(f"wanted a lane as HANDLER/ENTITY, like player/mira, found {text!r}")
    return check_token(handler, "handler"), check_token(entity, "entity")


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    from projections.query import query
    from worldbus.servers import open_servers

    async with open_servers(settings, nats=False) as servers:
        answer = await query(servers.reader_dsn, _LIST)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


async def _show(settings: Settings, rows: list[dict[str, Any]], as_json: bool) -> None:
    from bus.json_format import to_dict
    from worldbus.cli.read import line
    from worldbus.opening import open_bus

    async with open_bus(settings, name="worldbus-parked", postgres=False) as bus:
        for row in rows:
            event = await bus.log.get(row["input"])
            try:
                document: dict[str, Any] | None = to_dict(event)
            except Exception as error:  # the reason why it is parked, quite likely
                document, row["unreadable"] = None, str(error)
            if as_json:
                say_json(row | {"event": document})
                continue
            say(line(event, document) if document else f"{event.position:>8} unreadable: {row['unreadable']}")
            say(f"         {row['status']} since {row['since']}, {row['code'] or ''} {row['reason'] or ''}".rstrip())


async def _order(
    settings: Settings, lanes: list[tuple[str, str, str]], position: int | None, reason: str, wait_s: float, as_json: bool
) -> None:
    """Say to each lane what to do, and tell what came of it."""
    from worldbus.opening import open_world

    async with open_world(settings, name="worldbus-parked", postgres=False, create=False) as world:
        settled = [await _order_one(world, lane, position, reason, wait_s, as_json) for lane in lanes]
    failed = ["/".join(lane[1:]) for lane, well in zip(lanes, settled, strict=True) if not well]
    if not lanes:
        remark("nothing is parked")
    if failed and wait_s:
        raise No(f"not settled: {', '.join(failed)}; see `worldbus parked list`", lanes=", ".join(failed))


async def _order_one(world: World, lane: tuple[str, str, str], position: int | None, reason: str, wait_s: float, as_json: bool) -> bool:
    from bus.event import Draft
    from schemas.gen.worldbus.runtime.v1.runtime_pb2 import LaneDropRequested, LaneRetryRequested

    name, handler, entity = lane
    data = (
        LaneRetryRequested(handler=handler, reason=reason)
        if position is None
        else LaneDropRequested(handler=handler, position=position, reason=reason)
    )
    said = await world.publisher.publish(Draft(data=data, world=name, entity=entity, subsystem=OPERATOR))
    waiting = await _waiting(world, lane, said)
    outcome = await _outcome(world, lane, said, set(waiting), wait_s) if wait_s and waiting else []
    if not waiting:
        remark(f"{handler}/{entity}: nothing was parked")
    if as_json:
        say_json({"lane": f"{handler}/{entity}", "world": name, "position": said, "outcome": [_ending(event) for event in outcome]})
    else:
        say(f"{handler}/{entity}: asked at position {said}" + "".join(f"; {_words(event)}" for event in outcome))
    if position is not None:
        return position not in waiting or any(event.name == "LaneInputDropped" for event in outcome)
    return not waiting or (bool(outcome) and outcome[-1].name != "LaneRetryFailed")


def _subject(lane: tuple[str, str, str]) -> str:
    from bus.subjects import stored_filter

    name, handler, entity = lane
    return stored_filter(world=name, subsystem=handler, entity=entity)


async def _waiting(world: World, lane: tuple[str, str, str], until: int) -> list[int]:
    """The inputs that a lane had put aside and not taken up, as of a position."""
    waiting: list[int] = []
    async for events in world.log.read(until=until, filters=[_subject(lane)]):
        for event in events:
            if event.lane and event.name in ("EventParked", "EventDeferred"):
                waiting.append(event.lane.position)
            elif event.lane and event.name in ("LaneInputRetried", "LaneInputDropped"):
                waiting.remove(event.lane.position)
    return waiting


async def _outcome(world: World, lane: tuple[str, str, str], after: int, waiting: set[int], wait_s: float) -> list[Event]:
    """What the lane recorded about its parked inputs, until none is left, one failed again, or the time is over."""
    found: list[Event] = []
    try:
        async with asyncio.timeout(wait_s):
            async for events in world.log.read(after=after, filters=[_subject(lane)], follow=True):
                for event in events:
                    if event.name not in _ENDINGS:
                        continue
                    found.append(event)
                    waiting.discard(event.lane.position if event.lane else 0)
                    if event.name == "LaneRetryFailed" or not waiting:
                        return found
    except TimeoutError:
        if not found:
            remark("no answer yet: is a handler running? What was asked stays in the log and will be done.")
    return found


def _ending(event: Event) -> dict[str, Any]:
    data: Any = event.data
    return {"event": event.name, "input": data.position, "position": event.position, "reason": getattr(data, "reason", "")}


def _words(event: Event) -> str:
    data: Any = event.data
    match event.name:
        case "LaneInputRetried":
            return f"{data.position} decided"
        case "LaneInputDropped":
            return f"{data.position} dropped"
        case _:
            return f"{data.position} failed again: {data.reason}"
