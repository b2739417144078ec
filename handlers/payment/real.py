"""Knowledge of one real payment: refunds and disputes by id, each in the furthest state that was heard of.

News come in any order, repeated, late, or not at all. Whatever is learned is the largest of what was heard, by a fixed order of states, so
the same news in any order make the same knowledge; and what the player is entitled to follows from the knowledge alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from handlers.payment.tables import Pack
from schemas.gen.worldbus.payment.v1 import provider_pb2 as said

MAX_REFUNDS: Final = 100  # of one payment
MAX_DISPUTES: Final = 16  # of one payment, inquiries among them

News = said.PaymentReceived | said.PaymentFailed | said.PaymentRefunded | said.PaymentDisputed | said.PaymentInquired | said.DisputeSettled

REFUND_STATES: Final = ("requires_action", "pending", "succeeded", "canceled", "failed")
"""From the first that a refund may be in to the last; each final one never becomes another."""
GIVEN_BACK: Final = frozenset({"canceled", "failed"})
"""Refunds that are none: the real money came back to us."""
_PHASES: Final = {"inquiry": 0, "inquiry_closed": 1, "open": 1, "won": 2, "lost": 2}


class Refund(NamedTuple):
    """One refund; `amount` in minor units of the real currency."""

    id: str
    amount: int
    state: str

    @property
    def rank(self) -> tuple[int, int]:
        """Of two accounts of one refund the larger is the later."""
        return REFUND_STATES.index(self.state), self.amount


class Dispute(NamedTuple):
    """One dispute or inquiry; `amount` is disputed or, of a lost one, lost: 0 stands for all of the payment."""

    id: str
    state: str
    amount: int = 0
    currency: str = ""
    at_s: int = 0  # when the provider said so

    @property
    def rank(self) -> tuple[int, int, int, int, str]:
        """Of two accounts of one dispute the larger is the later: by phase, then by the provider's time; the rest only breaks ties."""
        return (
            _PHASES[self.state],
            self.at_s,
            ("inquiry_closed", "open", "won", "lost", "inquiry").index(self.state),
            self.amount,
            self.currency,
        )


class Real(NamedTuple):
    """Knowledge of a real payment, and what came of it: `given` virtual money is out, `written_off` of it lost."""

    pack: str = ""
    paid: int = 0
    currency: str = ""  # real
    reported: int = 0  # the largest sum of refunds that was named without naming each
    refunds: tuple[Refund, ...] = ()  # by id
    disputes: tuple[Dispute, ...] = ()  # by id
    failed: bool = False
    given: int = 0
    written_off: int = 0

    @property
    def open(self) -> tuple[str, ...]:
        """Ids of open disputes."""
        return tuple(one.id for one in self.disputes if one.state == "open")

    @property
    def lost(self) -> tuple[str, ...]:
        """Ids of disputes that were lost, all or a part."""
        return tuple(one.id for one in self.disputes if one.state == "lost")

    @property
    def refunded(self) -> int:
        """The sum that went back: refunds by id that stand, and what was reported beyond all known by id, whatever became of those."""
        standing = sum(one.amount for one in self.refunds if one.state not in GIVEN_BACK)
        return standing + max(0, self.reported - sum(one.amount for one in self.refunds))

    @property
    def contested(self) -> int:
        """The sum that is disputed, or lost by a dispute."""
        return sum(self._whole_or(one) for one in self.disputes if one.state in ("open", "lost"))

    def _whole_or(self, one: Dispute) -> int:
        other = bool(one.currency and self.currency and one.currency != self.currency)
        return one.amount if one.amount and not other else self.paid


def entitled(pack: Pack | None, known: Real) -> int:
    """The virtual money that a payment is good for: the share that was neither refunded nor is disputed or lost, rounded down."""
    if pack is None or not known.pack or not known.paid:
        return 0
    kept = max(0, known.paid - known.refunded - known.contested)
    return pack.amount_minor * kept // known.paid


def learned(known: Real, it: News, at_s: int = 0) -> Real:
    """Knowledge after the news, which the provider dates `at_s` (seconds since 1970)."""
    match it:
        case said.PaymentReceived():
            return known._replace(pack=it.pack, paid=it.paid_minor, currency=it.paid_currency)
        case said.PaymentRefunded():
            news = [Refund(one.refund_id, one.amount_minor, one.state) for one in it.refunds]
            return known._replace(reported=max(known.reported, it.refunded_minor), refunds=_furthest(known.refunds, news))
        case said.PaymentFailed():
            return known._replace(failed=True)
        case _:
            return known._replace(disputes=_furthest(known.disputes, [_dispute(it, at_s)]))


def _dispute(it: said.PaymentDisputed | said.PaymentInquired | said.DisputeSettled, at_s: int) -> Dispute:
    match it:
        case said.PaymentDisputed():
            return Dispute(it.dispute_id, "open", it.amount_minor, it.currency, at_s)
        case said.PaymentInquired():
            return Dispute(it.inquiry_id, "inquiry_closed" if it.closed else "inquiry", 0, "", at_s)
        case _:
            return Dispute(it.dispute_id, "won" if it.won and not it.lost_minor else "lost", it.lost_minor, it.currency, at_s)


One = TypeVar("One", Refund, Dispute)


def _furthest(known: Sequence[One], news: Sequence[One]) -> tuple[One, ...]:
    found = {one.id: one for one in known}
    for one in news:
        before = found.get(one.id)
        if before is None or one.rank > before.rank:
            found[one.id] = one
    return tuple(sorted(found.values()))
