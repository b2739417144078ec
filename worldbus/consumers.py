"""The durable consumers of a log, held against what the code wants, by the comparison that their members use (bus/consumer_config.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bus.consumer_config import config_of, differences
from bus.errors import Misuse
from bus.keeper import list_consumers, wanted, wider
from bus.played import EVERYTHING
from bus.runtime import places
from bus.session import Pace
from inference.queue import queue_config
from inference.tiers import TIERS

if TYPE_CHECKING:
    from bus.handler import Subsystem
    from bus.log import Log

SHOWN = 5  # consumers that are named


async def drifted(log: Log, handlers: Iterable[Subsystem]) -> dict[str, list[str]]:
    """The faults of each consumer that is not as it has to be, by name.

    A handler of which none is there never ran here, and a tier without a queue never had a worker: nothing is wrong with either.
    """
    found = await list_consumers(log)
    wrong: dict[str, list[str]] = {}
    handlers = list(handlers)
    for handler in handlers:
        held = places(handler, log.partitions)
        if not any(place.name in found.infos for place in held):
            continue
        for place in held:
            if place.name not in found.missing:
                _compare(wrong, place.name, wanted(place, Pace()), found.infos.get(place.name), wider(place))
    played = next((handler.played for handler in handlers), EVERYTHING)
    for tier in TIERS.values():
        for routed in (False, True):
            config = queue_config(tier, routed=routed, played=played)
            if config["name"] in found.infos:
                _compare(wrong, config["name"], config, found.infos[config["name"]], [])
    return wrong


def _compare(wrong: dict[str, list[str]], name: str, config: Mapping[str, Any], info: Mapping[str, Any] | None, also: list[str]) -> None:
    problems = ["it is gone"] if info is None else [str(one) for one in differences(config, config_of(info), wider=also)]
    if problems:
        wrong[name] = problems


async def as_wanted(log: Log, handlers: Iterable[Subsystem]) -> str:
    """A word on consumers that are all well. Raises `Misuse` with what is wrong with which, and the next step."""
    wrong = await drifted(log, handlers)
    if not wrong:
        return "as the code wants them"
    words = "; ".join(f"{name}: {', '.join(problems)}" for name, problems in list(wrong.items())[:SHOWN])
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    raise Misuse(
        f"wanted consumers as the code makes them, found {words}{more}: a running member mends its own within seconds; if it stays so, "
        "somebody rewrites them: look who may use $JS.API.CONSUMER.>",
        consumers=sorted(wrong),
    )
