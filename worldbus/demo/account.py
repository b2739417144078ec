"""Counting a run from what is on record: one pass over the log, then the archive held against it.

Nothing here asks the code under test how it did. Every fault is a line that says what was wanted and what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from schemas.upcast import recorded_names

if TYPE_CHECKING:
    from bus.event import Event, LaneMark
    from bus.handler import Subsystem
    from worldbus.demo.bots import Due
    from worldbus.demo.ledger import Promise

_AGAIN: Final = ("PaymentRequestRepeated", "PaymentRequestConflicted")
# What the standard subsystems must answer. What is due from one that the game has not is due from nobody.
DUE: Final[Due] = {
    "ClockStartRequested": ("time", frozenset({"ClockStarted", "ClockRequestRefused"})),
    "RealTimePassed": ("time", frozenset({"ClockAdvanced", "PausedTimePassed", "ClockRequestRefused"})),
    "PlayerJoined": ("player", frozenset({"PlayerArrived", "PlayerReportRefused"})),
    "PlayerLeft": ("player", frozenset({"PlayerDeparted", "PlayerReportRefused"})),
    "StateChangeRequested": ("state", frozenset({"StateChanged", "StateChangeRepeated", "StateChangeRefused"})),
    "SaveRequested": ("state", frozenset({"StateSaved", "SaveRefused"})),
    "LoadRequested": ("state", frozenset({"StateLoaded", "LoadRefused", "StateChangeRepeated"})),
    "WeatherOverrideRequested": ("weather", frozenset({"WeatherOverridden", "WeatherRequestRefused"})),
    "ForecastRequested": ("weather", frozenset({"ForecastIssued", "WeatherRequestRefused"})),
    "PurchaseRequested": ("payment", frozenset({"PurchaseCompleted", "PurchaseDeclined", "CouponClaimed", *_AGAIN})),
    "RefundRequested": ("payment", frozenset({"RefundCompleted", "RefundBegun", "RefundDeclined", *_AGAIN})),
    "HoldRequested": ("payment", frozenset({"HoldPlaced", "HoldDeclined", *_AGAIN})),
    "HoldCaptureRequested": ("payment", frozenset({"HoldCaptured", "HoldDeclined", *_AGAIN})),
    "PaymentReceived": ("payment", frozenset({"ProviderPaymentNoted", "PackRefused"})),
    "CreditRequested": ("payment", frozenset({"CreditGranted", "CreditDeclined", *_AGAIN})),
    "ItemUseRequested": ("inventory", frozenset({"ItemUsed", "ItemRefused", "ItemRequestRepeated"})),
    "TradeProposeRequested": ("trade", frozenset({"TradeProposed", "RequestRefused", "RequestFoundDone"})),
    "TradeChangeRequested": ("trade", frozenset({"TradeChanged", "RequestRefused", "RequestFoundDone"})),
    "TradeAcceptRequested": ("trade", frozenset({"TradeAccepted", "RequestRefused", "RequestFoundDone"})),
    "QuestAcceptRequested": ("quest", frozenset({"QuestAccepted", "SharedQuestProposed", "QuestRequestRefused"})),
    "QuestWorkRequested": ("quest", frozenset({"QuestOffered", "QuestRequestRefused"})),
    "UtteranceRequested": ("language", frozenset({"UtteranceComposed", "LanguageRequestRefused"})),
    "RouteRequested": ("router", frozenset({"RouteChosen", "RouteRefused"})),
    "ServiceQueryRequested": ("capability", frozenset({"ServiceQueryAnswered", "CapabilityRequestRefused"})),
    "FeatureQueryRequested": ("capability", frozenset({"FeatureQueryAnswered", "CapabilityRequestRefused"})),
    "ModelChoiceRequested": ("models", frozenset({"ModelChosen", "ModelRequestRefused"})),
    "RolloutStartRequested": ("models", frozenset({"RolloutStarted", "ModelRequestRefused"})),
}
PUT_ASIDE: Final = frozenset({"EventParked", "EventDeferred"})
Lane = tuple[str, str, str]  # handler, world, entity


class Input(NamedTuple):
    """An event that may be answered, as far as it is kept."""

    id: str
    name: str
    recorded_ns: int


@dataclass(slots=True)
class Share:
    """One handler's part: what concerned it, what it said, and how long after the input its first answer was in the log (nanoseconds)."""

    events_in: int = 0
    events_out: int = 0
    parked: int = 0
    delays_ns: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Faults:
    """The faults of a run; all lists are empty in a good one."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Every fault, each with its kind in front."""
        return [f"{kind}: {line}" for kind in ("lost", "duplicated", "out_of_order", "parked") for line in getattr(self, kind)]


class Account:
    """The books of one run. `take` the log in order, from its first event on or from the run's start, then `settle`.

    What is `due` and has no answer by then counts as lost.
    """

    def __init__(self, handlers: Iterable[Subsystem], due: Due = DUE) -> None:
        self._due = due
        self._handlers = {handler.name: handler for handler in handlers}
        self._hear = {handler.name: recorded_names(handler.listens_to) for handler in self._handlers.values()}
        self.shares = {name: Share() for name in self._handlers}
        self.faults = Faults()
        self.events = 0
        self.answered: dict[int, int] = {}  # position of an input -> position of the last answer to it
        self.inputs: dict[int, Input] = {}
        self.say_delays_ns: list[int] = []  # from an edge's own time to the log's
        self._ids: dict[str, int] = {}
        self._effects: Counter[tuple[Lane, int, int]] = Counter()
        self._names_said: dict[tuple[int, str], set[str]] = {}  # (input, handler) -> simple names
        self._last: dict[tuple[Lane, int], tuple[int, int]] = {}  # (lane, partition of inputs) -> (input, step)
        self._aside: set[tuple[Lane, int]] = set()

    def take(self, events: Iterable[Event]) -> None:
        """Enter more of the log."""
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        self.events += 1
        self.inputs[event.position] = Input(event.id, event.name, event.recorded_ns)
        before = self._ids.setdefault(event.id, event.position)
        if before != event.position:
            self.faults.duplicated.append(f"event id {event.id} stands at positions {before} and {event.position}")
        for name, heard in self._hear.items():
            if event.name in heard and any(True for _ in self._handlers[name].of(event.world).entities(event)):
                self.shares[name].events_in += 1
        mark = event.lane
        if mark is None:
            self.say_delays_ns.append(event.recorded_ns - event.time_ns)
        elif event.subsystem in self.shares:
            self._answer(event, mark)

    def _answer(self, event: Event, mark: LaneMark) -> None:
        share = self.shares[event.subsystem]
        share.events_out += 1
        lane = (event.subsystem, event.world, event.entity)
        if event.name in PUT_ASIDE:
            self._aside.add((lane, mark.position))
            if event.name == "EventParked":
                share.parked += 1
                reason = getattr(event.data, "reason", "")
                self.faults.parked.append(f"{'/'.join(lane)} could not decide position {mark.position}: {reason}")
        else:
            self._effects[lane, mark.position, mark.step] += 1
        self._order(lane, mark, event.position)
        said = self._names_said.setdefault((mark.position, event.subsystem), set())
        if not said and (cause := self.inputs.get(mark.position)) is not None:
            share.delays_ns.append(event.recorded_ns - cause.recorded_ns)
        said.add(event.name)
        self.answered[mark.position] = event.position

    def _order(self, lane: Lane, mark: LaneMark, position: int) -> None:
        """Inputs of one partition are answered in log order; those that were put aside come again later, on purpose."""
        if (lane, mark.position) in self._aside:
            return
        before = self._last.get((lane, mark.partition), (0, 0))
        if (mark.position, mark.step) < before:
            self.faults.out_of_order.append(f"{'/'.join(lane)} answered {mark.position} at {position}, after it had answered {before[0]}")
        self._last[lane, mark.partition] = max(before, (mark.position, mark.step))

    @property
    def handled(self) -> int:
        """Decisions on record: inputs that a handler answered, counted per handler."""
        return len(self._names_said)

    def settle(self, promises: Iterable[Promise], archived: Mapping[int, str]) -> None:
        """Hold the log and the archive (position -> event id) against what was acknowledged, and effects against what was due."""
        for (lane, position, step), times in self._effects.items():
            if times > 1:
                self.faults.duplicated.append(f"{'/'.join(lane)} said output {step} of input {position} {times} times")
        for promise in promises:
            self._keep(promise, archived)
        for position, one in self.inputs.items():
            if archived.get(position) != one.id:
                self.faults.lost.append(
                    f"position {position} ({one.name} {one.id}) is in the log, the archive has {archived.get(position)}"
                )

    def _keep(self, promise: Promise, archived: Mapping[int, str]) -> None:
        found = self.inputs.get(promise.position)
        if found is None or found.id != promise.id:
            self.faults.lost.append(
                f"{promise.id} was acknowledged at {promise.position}, the log has {found.id if found else 'nothing'} there"
            )
            return
        handler, answers = self._due.get(found.name, ("", frozenset()))
        said = self._names_said.get((promise.position, handler), set())
        if handler in self._handlers and not answers & said:
            self.faults.lost.append(
                f"{found.name} at {promise.position} has no answer of {handler}: wanted one of {', '.join(sorted(answers))}"
            )
