"""The people and programs around the players: services, the studio's operators, workers of models, a payment provider's customers.

One `turn` is about a second of the demo. What is said depends on the turn's number and the seed alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bus.event import Draft
from schemas.gen.worldbus.capability.v1.capability_pb2 import (
    EngineAdoptRequested,
    FeatureQueryRequested,
    ServiceHeartbeat,
    ServiceQueryRequested,
    ServiceRegisterRequested,
)
from schemas.gen.worldbus.capability.v1.types_pb2 import Need, Offer
from schemas.gen.worldbus.coupon.v1.coupon_pb2 import CouponDefinitionRequested
from schemas.gen.worldbus.game.v1.game_pb2 import PartyFormed
from schemas.gen.worldbus.inference.v1.inference_pb2 import ModelHealthReported
from schemas.gen.worldbus.models.v1.models_pb2 import ModelChoiceRequested, RolloutStartRequested
from schemas.gen.worldbus.models.v1.types_pb2 import Stage
from schemas.gen.worldbus.payment.v1.payment_pb2 import CreditRequested
from schemas.gen.worldbus.payment.v1.provider_pb2 import PaymentReceived
from schemas.gen.worldbus.router.v1.router_pb2 import RouteRequested, ServiceCallReported
from schemas.gen.worldbus.trade.v1.trade_pb2 import TradeAcceptRequested, TradeChangeRequested, TradeProposeRequested
from schemas.gen.worldbus.trade.v1.types_pb2 import TradePieces
from worlds.duskmarket.bots.deeds import COUPON

if TYPE_CHECKING:
    from google.protobuf.message import Message

OPERATOR: Final = "operator"
INFERENCE: Final = "inference"
PROVIDER: Final = "payments-provider"
LINE: Final = "unreal"
SERVICES: Final = {"voice-east": "tts", "voice-west": "tts", "tongues": "translate"}
SERVING: Final = {"gold": "qwen25-3b-awq", "silver": "qwen25-7b"}
FAILING: Final = range(8, 16)  # turns in which one voice does not answer: its circuit opens
HEARTBEAT_TURNS: Final = 5
PARTY: Final = 3  # members


class Studio:
    """The edges of one demo, besides players, clock and weather."""

    def __init__(self, world: str, seed: int, players: int, run: int = 0) -> None:
        self._world = world
        self._dice = random.Random(f"{seed}/studio")
        self._players = [f"player-{number:04d}" for number in range(1, players + 1)]
        self._run = run  # ids of another run on the same log are others

    def opening(self) -> list[Draft]:
        """The events before the first player."""
        said = [
            self._draft(
                ServiceRegisterRequested(endpoint=f"http://{name}.internal:8080", offers=[Offer(capability=what, version="1.2")]), name
            )
            for name, what in SERVICES.items()
        ]
        said.append(self._draft(EngineAdoptRequested(version="5.3", platform="windows"), LINE, OPERATOR))
        said.append(self._draft(CouponDefinitionRequested(percent=10, per_player=2), COUPON, OPERATOR))
        return said

    def turn(self, number: int) -> list[Draft]:
        """The events of this turn, 1, 2, 3 and so on."""
        return [*self._services(number), *self._models(number), *self._people(number), *self._trades(number)]

    def _services(self, number: int) -> Iterator[Draft]:
        if number % HEARTBEAT_TURNS == 0:
            for name in SERVICES:
                yield self._draft(ServiceHeartbeat(), name)
        service, what = self._dice.choice(tuple(SERVICES.items()))
        if number in FAILING:
            service, what = "voice-west", "tts"
        ok = number not in FAILING
        yield self._draft(RouteRequested(request_id=f"call-{number}", capability=what, key=f"turn-{number}"), what)
        called = ServiceCallReported(
            service=service, capability=what, ok=ok, took_us=self._dice.randint(2_000, 40_000), error="" if ok else "timed out"
        )
        yield self._draft(called, what)
        if number % 10 == 2:
            yield self._draft(ServiceQueryRequested(needs=[Need(capability="tts", min_version="1.0")]), "registry")
            yield self._draft(FeatureQueryRequested(version="5.3", platform="windows"), LINE)

    def _models(self, number: int) -> Iterator[Draft]:
        if number % 10 == 1:
            for tier, model in SERVING.items():
                report = ModelHealthReported(
                    tier=tier,
                    pool="demo",
                    worker="demo",
                    span_ms=10_000,
                    requests=80,
                    first_chunk_p95_us=60_000,
                    ready=True,
                    free_slots=4,
                    slots=8,
                )
                yield self._draft(report, model, INFERENCE)
        if number == 3:
            stages = [Stage(percent=10, soak_ms=5_000), Stage(percent=100, soak_ms=5_000)]
            rollout = RolloutStartRequested(model="qwen25-1_5b", stages=stages, reason="an Apache-licensed model, tried on a tenth first")
            yield self._draft(rollout, "gold", OPERATOR)
        if number % 5 == 4 and self._players:
            yield self._draft(ModelChoiceRequested(tier="gold", key=self._dice.choice(self._players)), "gold")

    def _people(self, number: int) -> Iterator[Draft]:
        if not self._players:
            return
        if 2 <= number < 2 + len(self._players) // (3 * PARTY):
            first = (number - 2) * PARTY
            members = self._players[first : first + PARTY]
            yield self._draft(PartyFormed(party=f"party-{number:04d}", members=members), members[0])
        if number % 6 == 5:
            paid = PaymentReceived(
                payment_id=f"pi_{self._run}_{number}",
                pack="purse",
                paid_currency="eur",
                paid_minor=499,
                provider_event_id=f"evt_{self._run}_{number}",
            )
            yield self._draft(paid, self._dice.choice(self._players), PROVIDER)
        if number % 9 == 7:
            gift = CreditRequested(request_id=f"gift-{self._run}-{number}", currency="teeth", amount_minor=30, reason="for the long night")
            yield self._draft(gift, self._dice.choice(self._players), OPERATOR)

    def _trades(self, number: int) -> Iterator[Draft]:
        """Two players trade: one proposes, the other puts something on the table too, both accept; without the goods it is cancelled."""
        if len(self._players) < 2:
            return
        turn, name = number % 4, f"trade-{self._run}-{number // 4}"
        one, other = self._players[number // 4 % len(self._players)], self._players[(number // 4 + 1) % len(self._players)]
        if turn == 1:
            lantern = [TradePieces(sku="lantern", quantity=1)]
            yield self._draft(TradeProposeRequested(player=one, partner=other, gives=lantern), name)
        elif turn == 2:
            salts = [TradePieces(sku="embalming-salts", quantity=1)]
            yield self._draft(TradeChangeRequested(player=other, gives=salts), name)
        elif turn == 3:
            yield self._draft(TradeAcceptRequested(player=one, revision=2), name)
            yield self._draft(TradeAcceptRequested(player=other, revision=2), name)

    def _draft(self, data: Message, entity: str, subsystem: str = "game") -> Draft:
        return Draft(data=data, world=self._world, entity=entity, subsystem=subsystem)
