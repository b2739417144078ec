"""M1 to M7: money and items, from the log alone.

M1  a transfer sums to zero in every currency, and has two legs or more
M2  no balance falls below its floor, no escrow below zero
M3  a transfer is posted once, and moves no other player's money
M4  a request has one answer, for ever, however often it was said
M5  a refund never exceeds its charge
M6  every reward and every bargain is paid once, and what they bring and take comes and goes once
M7  a stack is what came less what went, and never below zero
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from bench.chaos.history import Violation
from bus.event import Event
from schemas.gen.worldbus.broker.v1.broker_pb2 import BargainStruck
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGiven, ItemGranted, ItemRemoved, ItemUsed
from schemas.gen.worldbus.narrative.v1.narrative_pb2 import SceneRewarded
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded

ANSWERS: Final = (
    said.PurchaseCompleted,
    said.PurchaseDeclined,
    said.RefundCompleted,
    said.RefundDeclined,
    said.ChargeCompleted,
    said.ChargeDeclined,
    said.CreditGranted,
    said.CreditDeclined,
    said.CreditLineChanged,
    said.CreditLineRefused,
    said.HoldPlaced,
    said.HoldCaptured,
    said.HoldReleased,
    said.HoldDeclined,
)
MOVES: Final = (ItemGranted, ItemRemoved, ItemUsed, ItemGiven)
NAMES: Final = frozenset(
    kind.DESCRIPTOR.name for kind in (*ANSWERS, *MOVES, said.TransferPosted, QuestRewarded, SceneRewarded, BargainStruck)
)
FULL: Final = 10**15  # pieces in a stack; what comes on top is lost
REWARDS: Final[dict[type[Message], str]] = {QuestRewarded: "quest", SceneRewarded: "narrative", BargainStruck: "broker"}
Account = tuple[str, str, str]  # world, account, currency


@dataclass(slots=True)
class Books:
    """The money in the log, as far as it was read."""

    balances: dict[Account, int] = field(default_factory=lambda: defaultdict(int))
    lines: dict[Account, int] = field(default_factory=lambda: defaultdict(int))
    transfers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    charged: dict[tuple[str, str, str], int] = field(default_factory=dict)
    refunded: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stacks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    causes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # what was said because of an event, by its id

    def take(self, event: Event) -> Iterator[Violation]:
        """Read one more event, and say which law it breaks."""
        match event.data:
            case said.TransferPosted() as it:
                yield from self._post(event, it)
            case said.CreditLineChanged() as it:
                own = (event.world, f"player:{event.entity}", it.currency)
                self.lines[own] = it.limit_minor
                yield from self._floor(event, own)
            case said.PurchaseCompleted() as it:
                self.charged[event.world, event.entity, it.request_id] = it.charged_minor
            case said.RefundCompleted() as it:
                yield from self._refund(event, it)
            case ItemGranted() | ItemRemoved() | ItemUsed() | ItemGiven() as it:
                yield from self._move(event, it)
            case _:
                pass
        if isinstance(event.data, ANSWERS) and (name := _request(event.data)):
            self.answers[event.world, event.entity, name] += 1
        if event.cause:
            self.causes[event.cause][event.name] += 1

    def _post(self, event: Event, it: said.TransferPosted) -> Iterator[Violation]:
        sums: Counter[str] = Counter()
        self.transfers[event.world, event.entity, it.transfer_id] += 1
        for entry in it.entries:
            account = (event.world, entry.account, entry.currency)
            kind, _, owner = entry.account.partition(":")
            if owner and owner != event.entity:
                yield Violation("M3", f"transfer at {event.position} about {event.entity} moves money of {entry.account}")
            sums[entry.currency] += entry.amount_minor
            self.balances[account] += entry.amount_minor
            if kind in ("player", "escrow") and entry.amount_minor < 0:
                yield from self._floor(event, account)
        if len(it.entries) < 2 or any(sums.values()):
            yield Violation("M1", f"transfer at {event.position} has {len(it.entries)} legs that sum to {dict(sums)}, wanted 0")

    def _floor(self, event: Event, account: Account) -> Iterator[Violation]:
        if self.balances[account] < -self.lines[account]:
            yield Violation("M2", f"{account} holds {self.balances[account]} at {event.position}, its floor is {-self.lines[account]}")

    def _refund(self, event: Event, it: said.RefundCompleted) -> Iterator[Violation]:
        purchase = (event.world, event.entity, it.purchase_id)
        self.refunded[purchase] += it.amount_minor
        if not self.refunded[purchase] == it.refunded_minor <= self.charged.get(purchase, 0):
            was, paid = self.refunded[purchase], self.charged.get(purchase, 0)
            yield Violation("M5", f"{was} of {purchase} have come back at {event.position}, {it.refunded_minor} said, {paid} charged")

    def _move(self, event: Event, it: ItemGranted | ItemRemoved | ItemUsed | ItemGiven) -> Iterator[Violation]:
        stack = (event.world, event.entity, it.sku)
        before = self.stacks[stack]
        gone = 1 if isinstance(it, ItemGiven) else it.quantity
        wanted = min(FULL, before + gone) if isinstance(it, ItemGranted) else before - gone
        self.stacks[stack] = it.now
        if it.now != wanted or wanted < 0:
            yield Violation("M7", f"{event.name} at {event.position}: {before} of {stack} become {it.now}, wanted {wanted}")

    def doubles(self) -> Iterator[Violation]:
        """The movements and answers that happened more than once."""
        for transfer, times in self.transfers.items():
            if times > 1:
                yield Violation("M3", f"transfer {transfer} was posted {times} times")
        for request, times in self.answers.items():
            if times > 1:
                yield Violation("M4", f"request {request} was answered {times} times")


def _request(message: Any) -> str:
    """The request that an answer remembers; nothing for rewards, expiries and requests whose id was not valid."""
    return (getattr(message, "request_id", "") or message.hold) if message.request_digest else ""


def audit(events: Iterable[Event]) -> tuple[list[Violation], dict[Account, int]]:
    """Every broken law, and the balances at the end."""
    books = Books()
    found: list[Violation] = []
    rewards: list[Event] = []
    for event in events:
        if event.name not in NAMES:
            continue
        if event.subsystem in ("payment", "inventory"):
            found += books.take(event)
        elif REWARDS.get(type(event.data)) == event.subsystem:
            rewards.append(event)
    found += books.doubles()
    for reward in rewards:
        found += _paid_once(reward, books.causes.get(reward.id, Counter()))
    return found, dict(books.balances)


def _paid_once(reward: Event, followed: Counter[str]) -> Iterator[Violation]:
    it: Any = reward.data
    amount = it.price_minor if isinstance(it, BargainStruck) else it.amount_minor
    paid = followed["CreditGranted"] + followed["CreditDeclined"]
    if paid != (1 if amount else 0) or followed["CreditGranted"] > followed["TransferPosted"]:
        yield Violation("M6", f"{reward.name} at {reward.position} of {amount} was paid {paid} times: {dict(followed)}")
    moved = followed["ItemRemoved"] if isinstance(it, BargainStruck) else followed["ItemGranted"]
    wanted = 1 if isinstance(it, BargainStruck) else len(it.items)
    if moved != wanted:
        yield Violation("M6", f"{reward.name} at {reward.position} moved {moved} items, wanted {wanted}")


def check(events: Iterable[Event]) -> list[Violation]:
    """Every broken law of money."""
    return audit(events)[0]
