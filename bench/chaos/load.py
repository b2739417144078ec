"""The load: writers that each know what they said and what they were told.

A lane is one entity that a writer speaks about, one event at a time, numbered 1, 2, 3 …; what comes of each is in the journal, and a writer
that was killed goes on from its journal: it resolves what it does not know, then says the next number.

    walk     joins, moves, shows signs of life and leaves: a player, with one to four answers of its handler each
    keep     changes and saves the state of an entity: a version per change
    duel     writes behind the last event it has seen, and other writers do the same on the same entity: somebody is refused
    group    says three things at once, all or none
    shop     hunts for a quest's reward, buys, asks for refunds and holds, comes by goods; every request for money is said twice
    hex      bytes that are no event, the clean-up of an operator, and life after it
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from google.protobuf.message import Message

from bench.chaos.history import Claim, Wish, digest
from bench.chaos.journal import Journal
from bus.errors import Conflict, Rejected, Transient, Unknown, WorldbusError
from bus.event import Draft
from bus.log import Log
from bus.publisher import Publisher
from bus.subjects import lane_filter, partition_of
from schemas.gen.worldbus.broker.v1.broker_pb2 import AcquisitionRequested
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, PlayerSpoke
from schemas.gen.worldbus.payment.v1.payment_pb2 import HoldRequested, PurchaseRequested, RefundRequested
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerHeartbeat, PlayerJoined, PlayerLeft, PlayerMoved
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestAcceptRequested
from schemas.gen.worldbus.runtime.v1.runtime_pb2 import EventParked, LaneDropRequested, LaneRetryFailed, LaneRetryRequested
from schemas.gen.worldbus.state.v1.state_pb2 import SaveRequested, StateChangeRequested
from schemas.gen.worldbus.state.v1.types_pb2 import StateValue
from schemas.registry import message_class

WORLD = "chaos"
HEX = "hex"  # beginning of the names of entities that are given poison
ZONES = ("quay", "fishmarket", "moor", "pass")
PAUSE_S = 0.05
JUMP_NS = 3_600_000_000_000  # how far a writer's clock jumps: an hour
ROUND: tuple[Callable[[str], Message], ...] = (  # what a shop lane says, again and again; the name is that of the round
    lambda name: QuestAcceptRequested(quest="hounds-of-the-moor"),
    lambda name: CreatureSlain(creature="moor-hound", place="old-moor", quantity=12),
    lambda name: PlayerSpoke(npc="warden-pell", place="old-moor"),
    lambda name: PurchaseRequested(request_id=name, sku="lantern"),
    lambda name: PurchaseRequested(request_id=name, sku="lantern"),
    lambda name: RefundRequested(request_id=f"{name}-back", purchase_id=name, amount_minor=50),
    lambda name: RefundRequested(request_id=f"{name}-back", purchase_id=name, amount_minor=50),
    lambda name: HoldRequested(request_id=f"{name}-hold", currency="crowns", amount_minor=7, for_real_ms=1_500),
    lambda name: HoldRequested(request_id=f"{name}-hold", currency="crowns", amount_minor=7, for_real_ms=1_500),
    lambda name: AcquisitionRequested(source="surgeons-door"),
)
ABANDON = 0.3  # share of refused events that are not tried again under their id
GROUP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The number of lanes of each kind that one writer has, and the average pause of a lane between two events."""

    walk: int = 10
    keep: int = 5
    duel: int = 2
    group: int = 1
    shop: int = 3
    hex: int = 1
    pause_s: float = 0.4


@dataclass(slots=True)
class Lane:
    """One lane's place."""

    entity: str
    dice: random.Random
    prefix: str  # of the ids that this life of the writer gives
    next: int = 1  # number of the next event
    said: int = 0  # ids given

    def fresh_id(self) -> str:
        """An id that nobody else gives."""
        self.said += 1
        return f"{self.prefix}-{self.said}"


@dataclass(slots=True)
class Writer:
    """A writer process: it publishes numbered events, and notes each before and after."""

    name: str
    seed: int
    mix: Mix
    log: Log
    publisher: Publisher
    journal: Journal
    before: dict[str, Claim]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Speak until told to stop; then everything said is resolved."""
        await self._resolve_groups()
        steps: Sequence[tuple[str, int, Callable[[Lane], Awaitable[None]]]] = (
            ("walk", self.mix.walk, self._walk),
            ("keep", self.mix.keep, self._keep),
            ("duel", self.mix.duel, self._duel),
            ("group", self.mix.group, self._group),
            ("shop", self.mix.shop, self._shop),
            (HEX, self.mix.hex, self._hex),
        )
        async with asyncio.TaskGroup() as group:
            for kind, count, step in steps:
                for number in range(count):
                    entity = f"duel-{number}" if kind == "duel" else f"{kind}-{self.name}-{number}"
                    group.create_task(self._lane(entity, step), name=entity)

    async def _lane(self, entity: str, step: Callable[[Lane], Awaitable[None]]) -> None:
        prefix = f"{entity}-{self.name}-{time.monotonic_ns():x}"
        lane = Lane(entity, random.Random(f"{self.seed}/{prefix}"), prefix)
        for claim in self.before.values():
            if claim.lane == entity and not claim.group:
                recorded = claim.last.kind == "ok" or (claim.last.kind == "maybe" and await self._settle(claim, unknown=True) > 0)
                lane.next = max(lane.next, claim.number + 1 if recorded else 1)
        while not self.stopping.is_set():
            await step(lane)
            await asyncio.sleep(lane.dice.uniform(0, 2 * self.mix.pause_s))

    # -- the kinds of lanes ------------------------------------------------------------------------------------------------------

    async def _walk(self, lane: Lane) -> None:
        roll = lane.dice.random()
        zone = lane.dice.choice(ZONES)
        message: Message
        if lane.next == 1 or roll < 0.03:
            message = PlayerJoined(display_name=lane.entity, platform="linux", game_server="chaos", zone=zone)
        elif roll < 0.05:
            message = PlayerLeft(reason="enough")
        elif roll < 0.75:
            message = PlayerMoved(zone=zone, x=lane.next)
        else:
            message = PlayerHeartbeat()
        await self._say(lane, message)

    async def _keep(self, lane: Lane) -> None:
        if lane.dice.random() < 0.1:
            await self._say(lane, SaveRequested(slot="auto"))
        else:
            change = StateChangeRequested(expected_version=-1, set={f"key{lane.next % 7}": StateValue(integer=lane.next)})
            await self._say(lane, change)

    async def _duel(self, lane: Lane) -> None:
        try:
            last = await self.log.last(lane_filter(partition_of(WORLD, lane.entity, self.log.partitions), WORLD, "game", lane.entity))
        except WorldbusError:
            return
        number = 1 + (int(last.data.x) if last is not None and isinstance(last.data, PlayerMoved) else 0)
        claim = self._claim(
            lane, PlayerMoved(zone=lane.dice.choice(ZONES), x=number), number, shared=True, expected=last.position if last else 0
        )
        await self._settle(claim)

    async def _group(self, lane: Lane) -> None:
        name = lane.fresh_id()
        claims = [
            replace(self._claim(lane, PlayerMoved(zone=ZONES[step], x=lane.next), lane.next), group=name, size=GROUP)
            for step in range(GROUP)
        ]
        lane.next += 1
        await self._settle_group(claims)

    async def _shop(self, lane: Lane) -> None:
        """The commands of a client that has lost an answer: the same request again, as a new event."""
        turn, step = divmod(lane.next - 1, len(ROUND))
        message = ROUND[step](f"{lane.entity}-{turn}")
        await self._say(lane, message, subsystem="operator" if isinstance(message, RefundRequested) else "game")

    async def _hex(self, lane: Lane) -> None:
        """Poison on every twentieth step; an operator who looks what waits, drops the poison and takes up the rest."""
        if lane.next > 2 and lane.dice.random() < 0.05:
            await self._poison(lane)
            await self._say(lane, PlayerMoved(zone=lane.dice.choice(ZONES), x=lane.next))
            await asyncio.sleep(lane.dice.uniform(0, 1.0))
        await self._clean_up(lane)
        await self._walk(lane)

    async def _poison(self, lane: Lane) -> None:
        """Bytes that are no event, from an edge or under the name of a handler: the first are skipped, the others stop the lane. Whoever
        sends them is not told the truth either: there is no id to try again with."""
        junk = b"\xff" + lane.dice.randbytes(16)
        speaker = lane.dice.choice(("game", "weather"))
        try:
            await self.publisher.connection.request(f"evt.{WORLD}.{speaker}.{lane.entity}.PlayerMoved", junk, timeout=1.0)
        except WorldbusError:
            return

    async def _clean_up(self, lane: Lane) -> None:
        try:
            own = lane_filter(partition_of(WORLD, lane.entity, self.log.partitions), WORLD, "player", lane.entity)
            last = await self.log.last(own)
            if last is None or last.name not in ("EventParked", "EventDeferred", "LaneRetryFailed"):
                return
            history = await self.log.read_lane(own)
        except WorldbusError:
            return
        blocked = next(event.data for event in reversed(history) if event.name in ("EventParked", "LaneRetryFailed"))
        assert isinstance(blocked, EventParked | LaneRetryFailed)
        await self._say(lane, LaneDropRequested(handler="player", position=blocked.position, reason="poison"), subsystem="operator")
        await self._say(lane, LaneRetryRequested(handler="player"), subsystem="operator")

    # -- saying ------------------------------------------------------------------------------------------------------------------

    def _claim(
        self, lane: Lane, message: Message, number: int, *, shared: bool = False, expected: int = -1, subsystem: str = "game"
    ) -> Claim:
        jump = lane.dice.choice((-JUMP_NS, 0, 0, 0, JUMP_NS))
        wish = Wish(
            entity=lane.entity,
            type=message.DESCRIPTOR.full_name,
            data=message.SerializeToString(deterministic=True),
            time_ns=time.time_ns() + jump,
            expected=expected,
            subsystem=subsystem,
        )
        name = lane.fresh_id()
        return Claim(id=name, lane=lane.entity, number=number, sha256=digest(draft_of(name, wish).encode()), shared=shared, wish=wish)

    async def _say(self, lane: Lane, message: Message, *, subsystem: str = "game") -> None:
        """Say the next thing on the lane, under one id until it is recorded; now and then a refused one is given up for a new id."""
        while True:
            if await self._settle(self._claim(lane, message, lane.next, subsystem=subsystem), give_up=lane.dice.random() < ABANDON):
                lane.next += 1
                return
            if self.stopping.is_set():
                return
            await asyncio.sleep(PAUSE_S)

    async def _settle(self, claim: Claim, *, unknown: bool = False, give_up: bool = False) -> int:
        """Publish until there is an answer. Returns the position, or 0: it is not recorded.

        `unknown`: it may be in the log already. `give_up`: let a refusal that could be tried again stand.
        """
        assert claim.wish is not None
        draft, expected = draft_of(claim.id, claim.wish), None if claim.wish.expected < 0 else claim.wish.expected
        while True:
            self.journal.trying(claim)
            try:
                position = await self.publisher.publish(draft, expected=expected, once=unknown)
            except Unknown as error:
                unknown = True
                self.journal.told(claim.id, "maybe", code=error.code)
            except Transient as error:
                # "Nothing was recorded" of this call; what an earlier call of the same event did is still open.
                self.journal.told(claim.id, "maybe" if unknown else "no", code=error.code)
                if not unknown and give_up:
                    return 0
            except (Conflict, Rejected) as error:
                self.journal.told(claim.id, "no", code=error.code)
                return 0
            else:
                self.journal.told(claim.id, "ok", position=position)
                return position
            await asyncio.sleep(PAUSE_S)

    async def _settle_group(self, claims: Sequence[Claim]) -> None:
        drafts = [draft_of(claim.id, claim.wish) for claim in claims if claim.wish is not None]
        unknown = False
        while True:
            for claim in claims:
                self.journal.trying(claim)
            try:
                positions = await self.publisher.publish_group(drafts)
            except Transient as error:
                unknown = unknown or isinstance(error, Unknown)
                for claim in claims:
                    self.journal.told(claim.id, "maybe" if unknown else "no", code=error.code)
            else:
                for claim, position in zip(claims, positions, strict=True):
                    self.journal.told(claim.id, "ok", position=position)
                return
            await asyncio.sleep(PAUSE_S)

    async def _resolve_groups(self) -> None:
        names = dict.fromkeys(claim.group for claim in self.before.values() if claim.group and claim.last.kind == "maybe")
        for name in names:
            await self._settle_group([claim for claim in self.before.values() if claim.group == name])


def draft_of(id: str, wish: Wish) -> Draft:
    """The draft for a wish: the same bytes every time."""
    data = message_class(wish.type).FromString(wish.data)
    return Draft(data=data, world=WORLD, entity=wish.entity, subsystem=wish.subsystem, id=id, time_ns=wish.time_ns)
