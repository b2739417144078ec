"""The script of a lockstep demo for everybody outside of the handlers: a pure function of the seed and of the events so far.

`opening`, `step` and `closing` yield groups of drafts. Whoever plays the script says a group, lets the world answer until it has nothing
more to say, hands everything that is in the log since then to `hear`, and only then asks for the next group. `rehearse` plays it in memory,
`worldbus.demo.lockstep` on a real log.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from bus.event import Draft
from bus.testing import Rehearsal
from handlers.time_manager import CLOCK
from handlers.uemonitor import EDGE as FEED
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import ReleaseFeedRead
from worldbus.demo.answers import NAMES, answers
from worldbus.demo.lore import first_editions
from worldbus.demo.players import PACE, Player, zones
from worldbus.demo.seen import Seen
from worldbus.demo.studio import LATER, LINE, RELEASES, Studio, feed
from worldbus.edges.feed_format import entries
from worldbus.games import current
from worldbus.ticker import EDGE as TICKER

if TYPE_CHECKING:
    from bus.event import Event

STEP_WORLD_MS: Final = 60_000
SCALE: Final = 60_000  # world milliseconds per real second: one step is a real second
EPOCH_NS: Final = 946_684_800_000_000_000  # the first moment of 2000 UTC stands for world time 0
STEP_S: Final = STEP_WORLD_MS / SCALE


class Script:
    """One demo's edges: the clock, the studio, the players, the answers to requests for inference."""

    def __init__(self, world: str, *, players: int, seed: int) -> None:
        self._name = world
        self._seed = seed
        self._seen = Seen()
        self._asked: list[Event] = []
        self._studio = Studio(world, seed, players)
        self._players = [Player.of(world, seed, number) for number in range(1, players + 1)]
        self._world_ms = 0
        self._said = 0

    def hear(self, event: Event) -> None:
        """Take in the next event of the log."""
        self._seen.take(event)
        if event.name in NAMES:
            self._asked.append(event)

    def opening(self) -> Iterator[list[Draft]]:
        """The opening: the world's lore; the clock, the places, the services, the past of the feed."""
        for document in first_editions(self._name):
            yield self._group(document)
        yield self._group([Draft(data=ClockStartRequested(scale=SCALE), world=self._name, entity=CLOCK, subsystem=TICKER)])
        yield self._group([*zones(self._name, self._seed), *self._studio.opening(), self._feed(RELEASES)])

    def step(self, number: int, of: int) -> Iterator[list[Draft]]:
        """The world minute of that number, 1, 2, 3 and so on: time passes, then everybody speaks, then models answer."""
        self._world_ms += STEP_WORLD_MS
        tick = RealTimePassed(real_ms=STEP_WORLD_MS * 1000 // SCALE)
        yield self._group([Draft(data=tick, world=self._name, entity=CLOCK, subsystem=TICKER)])
        said = self._studio.turn(number)
        if number == max(1, of // 3):
            said.append(self._feed((*RELEASES, LATER)))
        said += [player.say(self._seen) for player in self._players if player.dice.random() < player.kind.total * PACE * STEP_S / 60]
        yield self._group(said)
        yield from self._answers()

    def closing(self) -> Iterator[list[Draft]]:
        """The closing: every player leaves."""
        yield self._group([player.leave() for player in self._players if player.online])
        yield from self._answers()

    def _answers(self) -> Iterator[list[Draft]]:
        while self._asked:
            asked, self._asked = self._asked, []
            yield self._group(answers(asked))

    def _feed(self, versions: tuple[str, ...]) -> Draft:
        body = feed(versions)
        read = ReleaseFeedRead(source="releases.json", etag=f"sha256:{sha256(body).hexdigest()}", entries=entries(body))
        return Draft(data=read, world=self._name, entity=LINE, subsystem=FEED)

    def _group(self, drafts: list[Draft]) -> list[Draft]:
        moment = EPOCH_NS + self._world_ms * 1_000_000
        dated = [
            msgspec.structs.replace(draft, id=f"lockstep-{self._seed}-{number:08d}", time_ns=moment)
            for number, draft in enumerate(drafts, self._said + 1)
        ]
        self._said += len(drafts)
        return dated


def rehearse(*, players: int, minutes: int, seed: int = 1, world: str = "duskmarket") -> Rehearsal:
    """The script played on a log in memory, with every handler: a whole small world, without a server."""
    town = Rehearsal(*current().handlers, world=world)
    script, heard = Script(world, players=players, seed=seed), 0
    acts = [script.opening(), *(script.step(number, minutes) for number in range(1, minutes + 1)), script.closing()]
    for act in acts:
        for group in act:
            for number, draft in enumerate(group, 1):
                town.say(
                    draft.data,
                    entity=draft.entity,
                    subsystem=draft.subsystem,
                    time_ns=draft.time_ns,
                    id=draft.id,
                    hear=number == len(group),
                )
            for event in town.log[heard:]:
                script.hear(event)
            heard = len(town.log)
    return town
