"""The script of a lockstep demo for everybody outside of the handlers: a pure function of the seed and of the events so far.

`opening`, `step` and `closing` yield groups of drafts. Whoever plays the script says a group, lets the world answer until it has nothing
more to say, hands everything that is in the log since then to `hear`, and only then asks for the next group. `rehearse` plays it in memory,
`worldbus.demo.lockstep` on a real log.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from bus.event import Draft
from bus.testing import Rehearsal
from handlers.time_manager import CLOCK, time
from handlers.uemonitor import EDGE as FEED
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import ReleaseFeedRead
from worldbus.demo.answers import NAMES, answers
from worldbus.demo.bots import asked, bots_of
from worldbus.demo.lore import first_editions
from worldbus.demo.releases import feed
from worldbus.edges.feed_format import entries
from worldbus.games import current
from worldbus.ticker import EDGE as TICKER
from worldbus.tiers import answers as without_model

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bus.event import Event
    from worldbus.demo.bots import Bots
    from worldbus.game import Game

STEP_WORLD_MS: Final = 60_000
SCALE: Final = 60_000  # world milliseconds per real second: one step is a real second
EPOCH_NS: Final = 946_684_800_000_000_000  # the first moment of 2000 UTC stands for world time 0
STEP_S: Final = STEP_WORLD_MS / SCALE


class Script:
    """One demo's edges: the clock, the game's bots, the answers to requests for inference."""

    def __init__(self, game: Game, bots: Bots) -> None:
        self._name = bots.stage.world
        self._line = game.engine_line
        self._clocked = time.name in game.by_name
        self._ladders = without_model(bots.stage.content).ladders
        self._bots = bots
        self._asked: list[Event] = []
        self._world_ms = 0
        self._said = 0

    def hear(self, event: Event) -> None:
        """Take in the next event of the log."""
        asked(partial(self._bots.hear, event))
        if event.name in NAMES:
            self._asked.append(event)

    def opening(self) -> Iterator[list[Draft]]:
        """The opening: the world's lore, the clock, the bots' own opening, the past of the feed."""
        for document in first_editions(self._bots.stage.content, self._name):
            yield self._group(document)
        if self._clocked:
            yield self._group([self._tick(ClockStartRequested(scale=SCALE))])
        yield self._group([*asked(lambda: [*self._bots.opening()]), *self._feed(self._bots.releases)])

    def step(self, number: int, of: int) -> Iterator[list[Draft]]:
        """The world minute of that number, 1, 2, 3 and so on: time passes, then everybody speaks, then models answer."""
        self._world_ms += STEP_WORLD_MS
        if self._clocked:
            yield self._group([self._tick(RealTimePassed(real_ms=STEP_WORLD_MS * 1000 // SCALE))])
        said = asked(lambda: [*self._bots.turn(number)])
        if number == max(1, of // 3):
            said += self._feed((*self._bots.releases, self._bots.later))
        said += [asked(bot.say) for bot in self._bots.players if bot.dice.random() < bot.per_s * STEP_S]
        yield self._group(said)
        yield from self._answers()

    def closing(self) -> Iterator[list[Draft]]:
        """The closing: every player leaves."""
        yield self._group([goodbye for bot in self._bots.players if (goodbye := asked(bot.leave)) is not None])
        yield from self._answers()

    def _answers(self) -> Iterator[list[Draft]]:
        while self._asked:
            asked, self._asked = self._asked, []
            yield self._group(answers(asked, self._ladders))

    def _tick(self, data: Message) -> Draft:
        return Draft(data=data, world=self._name, entity=CLOCK, subsystem=TICKER)

    def _feed(self, versions: tuple[str, ...]) -> Iterator[Draft]:
        if self._bots.releases:
            body = feed(versions)
            read = ReleaseFeedRead(source="releases.json", etag=f"sha256:{sha256(body).hexdigest()}", entries=entries(body))
            yield Draft(data=read, world=self._name, entity=self._line, subsystem=FEED)

    def _group(self, drafts: list[Draft]) -> list[Draft]:
        moment = EPOCH_NS + self._world_ms * 1_000_000
        dated = [
            msgspec.structs.replace(draft, id=f"lockstep-{self._bots.stage.seed}-{number:08d}", time_ns=moment)
            for number, draft in enumerate(drafts, self._said + 1)
        ]
        self._said += len(drafts)
        return dated


def rehearse(*, players: int, minutes: int, seed: int = 1, world: str = "") -> Rehearsal:
    """The script played on a log in memory, with every handler: a whole small world, without a server. It has the game's name, if
    none is given.
    """
    game = current()
    world = world or game.name
    town = Rehearsal(*game.handlers, world=world)
    script, heard = Script(game, bots_of(game, world, players=players, seed=seed)), 0
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
