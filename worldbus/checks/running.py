"""The running world and its progress: members, handlers, projector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from bus.presence import PartReport
from projections.store import connected
from worldbus.checks.finding import Bounds, Finding, ago, counted, many
from worldbus.drift import LEADS
from worldbus.games import current
from worldbus.lag import ConsumerLag, Lag, consumers, seconds

if TYPE_CHECKING:
    from bus.log import Log
    from worldbus.embedded import Servers
    from worldbus.roll_call import Member

LOOK_S = 0.4  # between two looks at floors that are old, to tell one that stands from one that moves
PROJECTOR = "projector"


def members(heard: Sequence[Member], bounds: Bounds) -> Finding:
    """The members that were heard: each handler is run by one of them, and all of them are well."""
    run = {name for one in heard for name in one.handlers}
    ours = [handler.label for handler in current().handlers]
    nobody = [label for label in ours if label not in run | bounds.without]
    ill = [f"{one.name}: {'; '.join(one.health)}" for one in heard if one.health]
    silent = [one.name for one in heard if one.speaks and not one.told]
    facts = {"members": [{"member": one.name, "version": one.version, "handlers": one.handlers, "health": one.health} for one in heard]}
    if nobody and not run.intersection(ours) - bounds.without:
        step = "start `worldbus up` or `worldbus run`; if one runs, it hangs: its log says where"
        return Finding("members", False, f"nobody was heard who runs a handler: {step}", facts=facts)
    problems = [*ill, *([f"nobody runs {many(nobody)}: start them, or say --without"] if nobody else [])]
    problems += [f"{many(silent)} beats and does not answer: look into its log"] if silent else []
    if problems:
        return Finding("members", False, "; ".join(problems), facts=facts)
    return Finding(
        "members", True, f"{counted(len(run), 'handler')} in {counted(sum(bool(one.handlers) for one in heard), 'member')}", facts=facts
    )


def games(heard: Sequence[Member]) -> Finding:
    """One game in each world: two would answer what the other answers."""
    said = {(one.game, frozenset(one.worlds)) for one in heard if one.game and one.handlers}
    plays = sorted(said, key=lambda one: (one[0], sorted(one[1])))
    problems = []
    for (one, its), (other, others) in combinations(plays, 2):
        if one == other:  # they share consumers, and one settles what the other has to decide
            problems.append(f"processes of {one} differ about its worlds: start all of them with the same `plays`")
        elif words := _shared(its, others):
            problems.append(f"{one} and {other} both play {words}: say in one of them, by `plays`, which worlds are its own")
    facts: dict[str, object] = {name: sorted(worlds) or "every world" for name, worlds in plays}
    if problems:
        return Finding("games", False, "; ".join(dict.fromkeys(problems)), facts=facts)
    return Finding("games", True, many([name for name, _ in plays]) if plays else "nobody was heard", facts=facts)


def _shared(one: frozenset[str], other: frozenset[str]) -> str:
    """The worlds that two games both play, in words; empty if there are none. No names stand for every world."""
    if not one and not other:
        return "every world"
    shared = one & other if one and other else one | other
    return f"the world {', '.join(sorted(shared))}" if shared else ""


def versions(heard: Sequence[Member]) -> Finding:
    """One release everywhere, or a word of warning: during a rolling upgrade there are two, afterwards there should be one."""
    found: dict[str, list[str]] = {}
    for one in heard:
        found.setdefault(one.version or "an older release", []).append(one.name)
    facts: dict[str, object] = dict(found)
    if len(found) > 1:
        words = "; ".join(f"{version}: {many(names)}" for version, names in sorted(found.items()))
        return Finding("versions", True, f"members of {len(found)} releases: {words}: end the upgrade soon", warning=True, facts=facts)
    return Finding("versions", True, f"worldbus {next(iter(found))}" if found else "nobody was heard", facts=facts)


async def handlers(log: Log, lag: Lag, heard: Sequence[Member], bounds: Bounds) -> Finding:
    """No input waits for its answer for longer than is allowed, and no consumer is gone."""
    places = [one for one in lag.handlers if one.handler not in bounds.without]
    gone = [one.name for one in places if one.ran and not one.exists]
    never = sorted({one.handler for one in places} - {one.handler for one in places if one.exists or one.ran})
    late = [one for one in places if (one.age_s(lag.now_ms) or 0) > bounds.age_s]
    behind = sum(one.behind for one in places)
    facts: dict[str, object] = {"behind": behind, "gone": gone, "never_ran": never, "late": [one.name for one in late]}
    if gone:
        step = "its member makes it anew within seconds; if it stays so, start the member again"
        return Finding("handlers", False, f"consumers are gone: {many(gone)}: {step}", facts=facts)
    if late:
        standing = await _standing(log, late)
        oldest = sorted(late, key=lambda one: one.oldest_ms)
        words = many([_late(one, lag.now_ms, one.name in standing, _reader(one, heard)) for one in oldest], most=3)
        return Finding("handlers", False, f"{words}: see `worldbus lag`, `worldbus ps` and the log of who holds them", facts=facts)
    return Finding("handlers", True, f"{behind} events to answer" + (f"; never ran here: {', '.join(never)}" if never else ""), facts=facts)


def _late(one: ConsumerLag, now_ms: int, stands: bool, who: str) -> str:
    floor = f"stands at {one.settled}" if stands else f"is at {one.settled} and moves"
    waits = f"{one.name} has {counted(one.behind, 'event')} to answer, the first for {ago(seconds(one.oldest_ms, now_ms))}"
    return f"{waits}; its floor {floor}, {who}"


def _reader(one: ConsumerLag, heard: Sequence[Member]) -> str:
    """The member that should read a partition, in words."""
    if one.held_by:
        return f"held by {one.held_by}"
    for member in heard:
        if any(
            hold.partition == one.partition for report in member.reports.values() if report.name == one.handler for hold in report.holds
        ):
            return f"{member.name}, to whom it falls, does not read it at the moment"
    return "held by nobody who was heard"


async def _standing(log: Log, late: Sequence[ConsumerLag]) -> set[str]:
    """The consumers whose floor does not move between two looks."""
    wanted = {one.handler for one in late}
    before = {one.name: one.settled for one in late}
    await asyncio.sleep(LOOK_S)
    now = await consumers(log, [handler for handler in current().handlers if handler.label in wanted])
    return {one.name for one in now if one.name in before and one.settled <= before[one.name]}


async def tiers(lag: Lag, bounds: Bounds) -> Finding:
    """No request to a model waits for a worker for longer than is allowed."""
    late = [one for one in lag.tiers if (one.age_s(lag.now_ms) or 0) > bounds.age_s]
    if late:
        words = many(
            [f"{one.behind} requests of tier {one.handler}, the first for {ago(seconds(one.oldest_ms, lag.now_ms))}" for one in late]
        )
        return Finding("workers", False, f"nobody answers requests: {words}: start a worker or the ladder (`worldbus run --only ladder`)")
    return Finding("workers", True, f"{sum(one.behind for one in lag.tiers)} requests wait for a worker")


async def projector(servers: Servers, lag: Lag, heard: Sequence[Member], bounds: Bounds) -> Finding:
    """The projector: one works, and gets on."""
    parts = _parts(heard, PROJECTOR)
    facts: dict[str, object] = {
        "position": lag.tables.position,
        "projectors": [{"member": one.name, "state": part.state, "reason": part.reason} for part, one in parts],
    }
    if waiting := [(part, one) for part, one in parts if part.state == "waits"]:
        part, one = waiting[0]
        if not any(other.state == "works" for other, _ in parts):
            return Finding("projector", False, f"{one.name} waits {_since(part, lag.now_ms)}: {part.reason}", facts=facts)
    late_s = seconds(lag.tables.oldest_ms, lag.now_ms)
    late = f"the tables are {lag.tables.behind} events and {ago(late_s)} behind, at position {lag.tables.position}"
    leads = any(part.state == "works" for part, _ in parts) or await _somebody_leads(servers)
    if not leads and PROJECTOR not in bounds.without:
        step = "start `worldbus up` or `worldbus run --only projector`"
        return Finding(
            "projector", False, f"nobody projects: {late if lag.tables.behind else 'the tables stand still'}: {step}", facts=facts
        )
    if late_s > bounds.age_s:
        return Finding("projector", False, f"{late}: see the projector's log", facts=facts)
    return Finding("projector", True, f"works, {lag.tables.behind} events to take in" if leads else "nobody projects, as said", facts=facts)


async def _somebody_leads(servers: Servers) -> bool:
    async with connected(servers.reader_dsn) as connection:
        return bool(await connection.fetchval(LEADS))


def _parts(heard: Sequence[Member], name: str) -> list[tuple[PartReport, Member]]:
    return [(part, one) for one in heard for part in one.parts if part.name == name]


def _since(part: PartReport, now_ms: int) -> str:
    return f"for {ago(seconds(part.since_ms, now_ms))}"
