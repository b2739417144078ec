"""One concurrent player in figures: stated by `worlds/duskmarket/bots.toml`, and measured by playing it in memory.

`measure` plays the mix of kinds with every handler, drawn from a seed, and counts the log: what the players' game servers publish, what the
world answers, which lines are said, what models are asked. No server and no clock takes part: the same seed measures the same.
`python -m worlds.duskmarket.bots.concurrent` prints the part of docs/reference/player.md that says it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from worldbus.demo.script import STEP_S, rehearse
from worlds.duskmarket import content
from worlds.duskmarket.bots.players import PACE

if TYPE_CHECKING:
    from bus.event import Event

PLAYERS: Final = 100
STEPS: Final = 120
BEGIN: Final = "<!-- made by python -m worlds.duskmarket.bots.concurrent -->"
END: Final = "<!-- end of what is made -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrent:
    """The mean concurrent player. Rates are per second of real time, while online."""

    published: float
    """Events that game servers publish for the player."""
    recorded: float
    """Events in the log on the player's account: those, and what the world says to them."""
    lines: float
    """Lines that the player says to characters; also counted in `published`."""
    asked: Mapping[str, float]
    """Requests to models by tier: the λ of each."""
    tokens_per_line: int

    @property
    def answers(self) -> float:
        """Events that the world says for each one published."""
        return self.recorded / self.published - 1


@cache
def measure(players: int = PLAYERS, steps: int = STEPS, seed: int = 1) -> Concurrent:
    """Play and count. What the world would have said without any player is not counted."""
    town, empty = rehearse(players=players, minutes=steps, seed=seed), rehearse(players=0, minutes=steps, seed=seed)
    asked = Counter(event.data.tier for event in town.log if isinstance(event.data, InferenceRequested))
    lived_s = players * steps * STEP_S * PACE  # of players at the stated rates
    return Concurrent(
        published=(_edge(town.log) - _edge(empty.log)) / lived_s,
        recorded=(len(town.log) - len(empty.log)) / lived_s,
        lines=sum(isinstance(event.data, PlayerSpoke) for event in town.log) / lived_s,
        asked={tier: count / lived_s for tier, count in sorted(asked.items())},
        tokens_per_line=content.bots.line.tokens,
    )


def _edge(log: list[Event]) -> int:
    return sum(event.subsystem == "game" for event in log)


def page() -> Iterator[str]:
    """The definition, as lines of Markdown."""
    bots, kinds = content.bots, content.bots.kinds.values()
    yield BEGIN
    yield ""
    yield f"| deeds a minute | mean | {' | '.join(bots.kinds)} |"
    yield f"|---|---:|{'---:|' * len(kinds)}"
    yield f"| share of the players | | {' | '.join(f'{kind.share:.0%}' for kind in kinds)} |"
    for deed, mean in bots.mean.items():
        rates = (kind.per_minute.get(deed) for kind in kinds)
        yield f"| {deed} | {mean:.2f} | {' | '.join('' if rate is None else f'{rate:g}' for rate in rates)} |"
    yield f"| **events published** | **{bots.events_per_minute:.1f}** | {' | '.join(f'{kind.total:.1f}' for kind in kinds)} |"
    yield ""
    yield END


def measured() -> Iterator[tuple[str, float]]:
    """Name and value of each figure that is measured, as the page names it; per minute where the name says so."""
    one = measure()
    yield "events published a minute", one.published * 60
    yield "events in the log a minute", one.recorded * 60
    yield "lines said a minute", one.lines * 60
    for tier in ("gold", "silver"):
        yield f"requests to {tier.title()} a minute", one.asked.get(tier, 0.0) * 60
    yield "tokens a line", one.tokens_per_line


if __name__ == "__main__":
    print("\n".join(page()))
    print(*(f"{name}: {value:.3g}" for name, value in measured()), sep="\n")
