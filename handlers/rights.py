"""The rows: who may ask for what of the standard subsystems. Gates (gateway, command line) and handlers refuse by them alike.

A game has rows of its own for its own types (`Game.rights`). Its handlers ask the standard subsystems with the rights of a game server.

A request type without a row fails the tests; a plain fact without one may be said by game servers, and by no client.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.message import Message

from bus.event import EDGE
from handlers.permissions import ANY, CLIENT, GAME, OPERATOR, OWN, ROLES, SERVICE, SPECIAL, STUDIO, TICKER, Right, Scope, role_of
from schemas.gen.worldbus.broker.v1 import broker_pb2 as broker
from schemas.gen.worldbus.capability.v1 import capability_pb2 as capability
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as coupon
from schemas.gen.worldbus.game.v1 import game_pb2 as game
from schemas.gen.worldbus.inference.v1 import inference_pb2 as inference
from schemas.gen.worldbus.inventory.v1 import inventory_pb2 as inventory
from schemas.gen.worldbus.language.v1 import language_pb2 as language
from schemas.gen.worldbus.models.v1 import models_pb2 as models
from schemas.gen.worldbus.narrative.v1 import narrative_pb2 as narrative
from schemas.gen.worldbus.payment.v1 import payment_pb2 as payment
from schemas.gen.worldbus.player.v1 import player_pb2 as player
from schemas.gen.worldbus.quest.v1 import quest_pb2 as quest
from schemas.gen.worldbus.router.v1 import router_pb2 as router
from schemas.gen.worldbus.runtime.v1 import runtime_pb2 as runtime
from schemas.gen.worldbus.state.v1 import state_pb2 as state
from schemas.gen.worldbus.storyteller.v1 import storyteller_pb2 as storyteller
from schemas.gen.worldbus.time.v1 import time_pb2 as time
from schemas.gen.worldbus.trade.v1 import trade_pb2 as trade
from schemas.gen.worldbus.weather.v1 import weather_pb2 as weather

HANDLERS: Final = frozenset(
    {
        "time", "weather", "player", "state", "capability", "uemonitor", "router", "models", "quest", "payment", "coupon", "inventory",
        "broker", "market", "trade", "narrative", "storyteller", "npc", "language",
    }
)  # fmt: skip
"""Names of the handlers for whose events there are rows here (tests hold it against the sample game, which has all of them)."""

PLAY: Final[dict[str, Scope]] = {GAME: ANY, CLIENT: OWN, OPERATOR: ANY}  # what a player does
WITNESS: Final[dict[str, Scope]] = {GAME: ANY, OPERATOR: ANY}  # what only a game server can have seen
DESIGN: Final[dict[str, Scope]] = {STUDIO: ANY, OPERATOR: ANY}
STAGE: Final[dict[str, Scope]] = {GAME: ANY, STUDIO: ANY, OPERATOR: ANY}  # what the world looks like
OPERATE: Final[dict[str, Scope]] = {OPERATOR: ANY}
ASK: Final[dict[str, Scope]] = {GAME: ANY, CLIENT: ANY, SERVICE: ANY, STUDIO: ANY, OPERATOR: ANY}  # questions that change nothing
OFFER: Final[dict[str, Scope]] = {SERVICE: OWN, GAME: OWN, OPERATOR: ANY}
NOBODY: Final[dict[str, Scope]] = {}


def _questions(may: dict[str, Scope], answers: str, *kinds: type[Message]) -> dict[type[Message], Right]:
    return dict.fromkeys(kinds, Right(may=may, answers=answers, emitters=HANDLERS))


def _rows(may: dict[str, Scope], answers: str, *kinds: type[Message], by: str = "", owner: str = "") -> dict[type[Message], Right]:
    right = Right(may=may, answers=answers, emitters=frozenset(by.split()), owner=owner)
    return dict.fromkeys(kinds, right)


def _reports(may: dict[str, Scope], answers: str, *kinds: type[Message]) -> dict[type[Message], Right]:
    return dict.fromkeys(kinds, Right(may=may, answers=answers, report=True))


_WAKES: Final = "weather player capability router models quest payment coupon broker market trade narrative storyteller npc"

_RESERVES: Final = "broker payment trade"

RIGHTS: Final[dict[type[Message], Right]] = {
    # Players' doings.
    **_rows(
        PLAY,
        "broker",
        broker.AcquisitionRequested,
        broker.SaleRequested,
        broker.CounterAcceptRequested,
        broker.OfferWithdrawRequested,
        broker.GoodDiscardRequested,
    ),
    **_rows(PLAY, "inventory", inventory.ItemUseRequested, game.GiftGiven),
    **_rows(PLAY, "payment", payment.PurchaseRequested),
    **_rows(PLAY, "quest", quest.QuestAcceptRequested, quest.QuestChoiceRequested, quest.QuestAbandonRequested, quest.QuestWorkRequested),
    **_rows(PLAY, "storyteller", storyteller.StoryChoiceRequested, owner="player"),
    **_rows(PLAY, "state", state.SaveRequested, state.LoadRequested, state.SlotDeleteRequested),
    **_rows(PLAY, "language", language.UtteranceRequested),
    **_rows(PLAY, "npc", game.PlayerSpoke),
    **_rows(PLAY, "narrative", game.ObjectExamined),
    **_rows(
        PLAY,
        "trade",
        trade.TradeProposeRequested,
        trade.TradeChangeRequested,
        trade.TradeAcceptRequested,
        trade.TradeCancelRequested,
        owner="player",
    ),
    # What a game server saw.
    **_rows(WITNESS, "inventory", game.ItemCollected),
    **_rows(WITNESS, "quest", game.PartyFormed, game.PartyLeft),
    **_reports(WITNESS, "quest", game.CreatureSlain),
    **_rows(WITNESS, "npc", game.NpcAttacked),
    **_rows(WITNESS, "player", player.PlayerJoined, player.PlayerLeft),
    **_reports(WITNESS, "player", player.PlayerMoved, player.PlayerHeartbeat),
    **_rows(WITNESS, "state", state.StateChangeRequested),
    **_rows(WITNESS, "language", language.LanguageStudied),
    # The studio's and the operators' business.
    **_rows(DESIGN, "coupon", coupon.CouponDefinitionRequested, coupon.CouponWithdrawalRequested),
    **_rows(
        DESIGN, "models", models.ModelAddRequested, models.ModelRetireRequested, models.RolloutStartRequested, models.RollbackRequested
    ),
    **_rows(DESIGN, "capability", capability.EngineAdoptRequested),
    **_rows(STAGE, "storyteller", storyteller.StoryArcStartRequested),
    **_rows(STAGE, "narrative", narrative.SceneChangeRequested, by="storyteller"),
    **_rows({TICKER: ANY, **STAGE}, "time", time.ClockStartRequested),
    **_rows(
        STAGE,
        "time",
        time.ClockScaleRequested,
        time.ClockPauseRequested,
        time.ClockResumeRequested,
        time.ScheduledEventRequested,
        time.ScheduledEventCancelRequested,
    ),
    **_rows(STAGE, "time", time.WakeRequested, time.WakeCancelRequested, by=_WAKES),
    **_reports({TICKER: ANY, **STAGE}, "time", time.RealTimePassed),
    **_rows(STAGE, "weather", weather.ZoneDeclared, weather.WeatherOverrideRequested, weather.OverrideCancelRequested),
    **_questions(ASK, "weather", weather.ForecastRequested),
    **_rows(OPERATE, "inventory", inventory.ItemGrantRequested),
    **_rows(OPERATE, "payment", payment.CreditRequested, payment.CreditLineRequested),
    **_rows(OPERATE, "", runtime.LaneRetryRequested, runtime.LaneDropRequested),
    # Money. A player may give back what was bought; anything beyond that is the operators'.
    **_rows({CLIENT: OWN, OPERATOR: ANY}, "payment", payment.RefundRequested),
    **_rows(WITNESS, "payment", payment.HoldRequested, payment.HoldCaptureRequested, payment.HoldReleaseRequested),
    **_rows(NOBODY, "payment", payment.ChargeRequested, by="broker"),
    **_rows(NOBODY, "inventory", inventory.ItemReserveRequested, inventory.ItemReleaseRequested, by=_RESERVES),
    # Services, and questions.
    **_rows(OFFER, "capability", capability.ServiceRegisterRequested, capability.ServiceUnregisterRequested),
    **_reports(OFFER, "capability", capability.ServiceHeartbeat),
    **_reports({SERVICE: ANY, GAME: ANY, OPERATOR: ANY}, "router", router.ServiceCallReported),
    **_questions(ASK, "capability", capability.ServiceQueryRequested, capability.FeatureQueryRequested),
    **_questions({SERVICE: ANY, GAME: ANY, OPERATOR: ANY}, "router", router.RouteRequested),
    **_questions({SERVICE: ANY, GAME: ANY, STUDIO: ANY, OPERATOR: ANY}, "models", models.ModelChoiceRequested),
    **_rows(STAGE, "", inference.InferenceRequested, inference.InferenceCancelRequested, by="storyteller npc"),
    **_rows(NOBODY, "", inference.InferenceRouteRequested, by="inference"),
}


def is_word_of(speaker: str, subsystem: str) -> bool:
    """True for the subsystem whose fact it is: `speaker`, or for `EDGE` anybody outside, since the rights have seen to who may say it."""
    return subsystem not in HANDLERS if speaker == EDGE else subsystem == speaker


class Rights:
    """The rows of a table by full type name, as gates ask them."""

    def __init__(self, rows: Mapping[type[Message], Right]) -> None:
        self._rows = {kind.DESCRIPTOR.full_name: right for kind, right in rows.items()}
        self.problem = lru_cache(maxsize=4096)(self._problem)
        self.scope = lru_cache(maxsize=4096)(self._scope)

    def _problem(self, subsystem: str, type_name: str) -> str:
        """The reason why a source may not say a type, in words; empty if it may. A client says only what a row allows it."""
        right, role = self._rows.get(type_name), role_of(subsystem, HANDLERS)
        if right is not None:
            return right.problem(subsystem, role)
        if role == CLIENT:
            return f"wanted a type that a player's own program may say, found it from {subsystem!r}: let the game server say it"
        return ""

    def _scope(self, subsystem: str, type_name: str) -> Scope:
        """The entities about which a source may say a type that it may say: its own or any."""
        right, role = self._rows.get(type_name), role_of(subsystem, HANDLERS)
        return ANY if right is None or subsystem in right.emitters else right.may.get(role, ANY)

    def owner_field(self, type_name: str) -> str:
        """The field of the payload that names whose business events of a type are; empty: the entity."""
        right = self._rows.get(type_name)
        return "" if right is None else right.owner

    def owner_of(self, type_name: str, entity: str, message: Message) -> str:
        """The entity whose business an event is."""
        right = self._rows.get(type_name)
        return right.owner_of(entity, message) if right is not None else entity


STANDARD: Final = Rights(RIGHTS)
problem: Final = STANDARD.problem
scope: Final = STANDARD.scope
owner_field: Final = STANDARD.owner_field
owner_of: Final = STANDARD.owner_of

assert not ROLES & SPECIAL
