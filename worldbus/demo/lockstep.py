"""The demo in lockstep: nobody says anything before the world has settled, and all times come from the world's clock.

One step is a world minute: the clock moves, then the studio and the players speak as one group, each by what it saw when the step began,
then requests for inference are answered. Handlers run as ever, but their lanes take turns (`bus.turns`). The same seed gives the same log:
the same bytes at the same positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bus.errors import BadSettings
from bus.event import Draft, Event
from bus.subjects import partition_of
from bus.turns import Turns
from handlers import ALL
from handlers.time_manager import CLOCK
from handlers.uemonitor import EDGE as FEED
from projections.catalogue import PROJECTIONS
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import ReleaseFeedRead
from worldbus.compose import World, open_world, serve
from worldbus.demo.answers import answers
from worldbus.demo.ledger import Promise
from worldbus.demo.players import Player, zones
from worldbus.demo.proof import prove
from worldbus.demo.report import Latency
from worldbus.demo.run import count_up, decide_us, quiet
from worldbus.demo.seen import Seen
from worldbus.demo.studio import LATER, LINE, RELEASES, Studio, feed
from worldbus.demo.witness import Witness
from worldbus.edges.feed_format import entries
from worldbus.ticker import EDGE as TICKER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worldbus.demo.report import Report
    from worldbus.settings import Settings

STEP_WORLD_MS: Final = 60_000
SCALE: Final = 60_000  # world milliseconds per real second: one step is a real second
EPOCH_NS: Final = 946_684_800_000_000_000  # the first moment of 2000 UTC stands for world time 0
SPEAKS: Final = 0.5  # share of the steps in which a player says something
GROUP: Final = 500  # events said at once at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a lockstep run is asked for."""

    players: int = 20
    hours: float = 1.0
    seed: int = 1
    prove: bool = True  # afterwards, what can be proven of the world


class Lockstep:
    """A world of its own, step by step."""

    def __init__(self, world: World, runners: Any, wanted: Wanted) -> None:
        self._world = world
        self._name = world.settings.world
        self._wanted = wanted
        self._seen = Seen()
        self._asked: list[Event] = []
        self._turns = Turns(runners, hear=self._hear)
        self._studio = Studio(self._name, wanted.seed, wanted.players)
        self._players = [Player.of(self._name, wanted.seed, number) for number in range(1, wanted.players + 1)]
        self._world_ms = 0
        self._said = 0
        self.promises: list[Promise] = []

    def _hear(self, event: Event) -> None:
        self._seen.take(event)
        if event.name in ("InferenceRequested", "InferenceCancelRequested"):
            self._asked.append(event)

    async def open(self) -> None:
        """The clock, the places, the services, the past of the feed."""
        clock = Draft(data=ClockStartRequested(scale=SCALE), world=self._name, entity=CLOCK, subsystem=TICKER)
        await self._say([clock])
        await self._say([*zones(self._name, self._wanted.seed), *self._studio.opening(), self._feed(RELEASES)])

    async def step(self, number: int, of: int) -> None:
        """The step of that number, 1, 2, 3 and so on."""
        self._world_ms += STEP_WORLD_MS
        tick = RealTimePassed(real_ms=STEP_WORLD_MS * 1000 // SCALE)
        await self._say([Draft(data=tick, world=self._name, entity=CLOCK, subsystem=TICKER)])
        said = self._studio.turn(number)
        if number == max(1, of // 3):
            said.append(self._feed((*RELEASES, LATER)))
        for player in self._players:
            if player.dice.random() < SPEAKS:
                said.append(player.say(self._seen))
        await self._say(said)
        while self._asked:
            asked, self._asked = self._asked, []
            await self._say(answers(asked))

    async def close(self) -> None:
        """Everybody leaves."""
        await self._say([player.leave() for player in self._players if player.online])
        while self._asked:
            asked, self._asked = self._asked, []
            await self._say(answers(asked))

    def _feed(self, versions: tuple[str, ...]) -> Draft:
        body = feed(versions)
        read = ReleaseFeedRead(source="releases.json", etag=f"sha256:{sha256(body).hexdigest()}", entries=entries(body))
        return Draft(data=read, world=self._name, entity=LINE, subsystem=FEED)

    async def _say(self, drafts: Sequence[Draft]) -> None:
        """Say these, and wait until nobody has anything to say to them any more."""
        for first in range(0, len(drafts), GROUP):
            group = [self._dated(draft) for draft in drafts[first : first + GROUP]]
            if len(group) == 1:
                positions = [await self._world.publisher.publish(group[0])]
            else:
                positions = await self._world.publisher.publish_group(group)
            for draft, position in zip(group, positions, strict=True):
                self.promises.append(Promise(draft.id, position))
                self._turns.heard(self._event(draft, position))
            await self._turns.settled()

    def _dated(self, draft: Draft) -> Draft:
        self._said += 1
        moment = EPOCH_NS + self._world_ms * 1_000_000
        return msgspec.structs.replace(draft, id=f"lockstep-{self._wanted.seed}-{self._said:08d}", time_ns=moment)

    def _event(self, draft: Draft, position: int) -> Event:
        partition = partition_of(draft.world, draft.entity, self._world.log.partitions)
        return Event(raw=draft.encode(), subject=draft.subject, partition=partition, position=position, data=draft.data)


async def run(settings: Settings, wanted: Wanted, tell: Callable[[str, float], None]) -> Report:
    """Let the world live for so many hours of its own time, on an empty log, and report. Raises `BadSettings` if the log is not empty."""
    tell("starting the servers", 0.0)
    async with open_world(settings, own=settings.embedded_nats or settings.embedded_postgres, name="worldbus-lockstep") as world:
        start = (await world.log.state()).last
        if start:
            raise BadSettings(
                f"a lockstep run makes a log from its first event on: wanted an empty one, found {start} events; name another --data"
            )
        async with serve(world, handlers=ALL, projections=PROJECTIONS) as runtime, Witness.open(world.servers.postgres_dsn) as witness:
            assert runtime is not None
            live = Lockstep(world, runtime.runners.values(), wanted)
            await live.open()
            steps = max(1, round(wanted.hours * 3_600_000 / STEP_WORLD_MS))
            for number in range(1, steps + 1):
                await live.step(number, steps)
                tell(f"world minute {number} of {steps}, {len(live.promises)} events said by the edges", number / steps)
            await live.close()
            tell("waiting until all is handled and projected", 1.0)
            last = await quiet(world)
            await witness.wait_for(last)
            measured = decide_us(runtime)
        tell("counting", 1.0)
        found = await count_up(
            world,
            live.promises,
            witness,
            last=last,
            players=wanted.players,
            seconds=wanted.hours * 3600,
            seed=wanted.seed,
            decide_us=measured,
        )
        # The edges' own clock is the world's here: it says nothing about how long publishing took.
        proof = await prove(world, tell) if wanted.prove else None
        return replace(found, publish=Latency.of(()), proof=proof)
