"""`worldbus verify --reinfer`: what models would say today."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bus.errors import BadSettings, WorldbusError
from worldbus.cli.output import remark, say

if TYPE_CHECKING:
    from worldbus.reinfer import Compared, Reinferred
    from worldbus.settings import Settings

WIDTH = 100  # characters of a text that are shown in a line


async def asked_again(settings: Settings, until: int | None, only: Sequence[str]) -> Reinferred:
    """Ask the models of the settings again. Raises `BadSettings` without any, or if a request that was named has no answer of a model."""
    from inference import pools
    from worldbus.games import current
    from worldbus.opening import open_bus
    from worldbus.reinfer import recorded, reinfer
    from worldbus.tiers import answers

    tables, written = pools.load(settings.inference), answers(current().content_of(settings.world))
    pooled = {tier: pools.pool_of(tier, table, grammars=written.grammars)[1] for tier, table in tables.items()}
    engines = {tier: engine for tier, engine in pooled.items() if engine is not None}
    if not engines:
        raise BadSettings("--reinfer: wanted models to ask, found none: name them in a file and the file with --inference")

    async def texts(world: str, ids: Sequence[str]) -> Mapping[str, str]:
        return await _passages(settings, world, ids) if ids else {}

    async with open_bus(settings, name="worldbus-reinfer", postgres=False) as bus:
        found = [one async for one in recorded(bus.log, until=until, only=frozenset(only))]
        if missing := set(only) - {one.answer.request_id for one in found}:
            raise BadSettings(f"--only: no model answered {', '.join(sorted(missing))}, as far as the log says")
        return await reinfer(found, written.ladders, engines, texts)


async def _passages(settings: Settings, world: str, ids: Sequence[str]) -> Mapping[str, str]:
    """Passages as the knowledge base has them; none if it cannot be read: then the prompt is another one, which the report says."""
    from projections.store import connected
    from worldbus.servers import open_servers
    from worldbus.why import passages_of

    try:
        async with open_servers(settings, nats=False) as servers, connected(servers.reader_dsn) as connection:
            return await passages_of(connection, world, ids)
    except WorldbusError as error:
        remark(f"the passages of {len(ids)} citations cannot be read: {error}")
        return {}


def as_dict(report: Reinferred) -> dict[str, Any]:
    """The report as JSON."""
    counted = Counter(one.outcome for one in report.compared)
    return {
        "asked": len(report.compared),
        "outcomes": dict(sorted(counted.items())),
        "other_prompts": report.other_prompts,
        "requests": [asdict(one) for one in report.compared],
    }


def show(report: Reinferred, shown: int) -> None:
    """The report for people: sums, then what differs."""
    say()
    say(f"Asked models again for {len(report.compared)} answers: {_sums(report)}.")
    if report.other_prompts:
        say(f"{report.other_prompts} prompts could not be made as they were: ladders, passages or the code have changed since.")
    differing = [one for one in report.compared if one.outcome not in ("same", "beginning")]
    for one in differing[:shown]:
        for line in _lines(one):
            say(line)


def _sums(report: Reinferred) -> str:
    counted = Counter(one.outcome for one in report.compared)
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in counted.most_common()) or "there are none"


def _lines(one: Compared) -> list[str]:
    prompt = "the same prompt" if one.prompt_same else "another prompt"
    head = f"\n{one.request_id} in world {one.world!r}, {one.tier}, rung {one.rung}, {prompt}: {one.outcome}"
    said = [f"- {one.recorded_model}: {ascii(one.recorded)[:WIDTH]}", f"+ {one.today_model}: {ascii(one.today)[:WIDTH]}"]
    return [head, *(f"  {line}" for line in (said if one.today else [one.note or "nobody to ask"]))]
