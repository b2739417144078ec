"""The laws of money, checked over a whole log: used by property tests, the demo's world and the kill tests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from bus.event import Event
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said

ANSWERS = (
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
Balances = dict[tuple[str, str], int]  # (account, currency) → minor units


def check_ledger(log: Iterable[Event]) -> Balances:
    """Every law of money holds at every position of `log` (one world); returns the balances at its end."""
    balances: Balances = defaultdict(int)
    lines: Balances = defaultdict(int)
    transfers: Counter[tuple[str, str]] = Counter()
    answers: Counter[tuple[str, str]] = Counter()
    charged: dict[tuple[str, str], int] = {}
    back: Counter[tuple[str, str]] = Counter()
    for event in log:
        if event.subsystem != "payment":
            continue
        player = event.entity
        match event.data:
            case said.TransferPosted() as it:
                _post(it, player, balances)
                transfers[player, it.transfer_id] += 1
                for entry in it.entries:
                    own, aside = entry.account == f"player:{player}", entry.account == f"escrow:{player}"
                    if own and entry.amount_minor < 0:
                        floor = -lines[entry.account, entry.currency]
                        assert balances[entry.account, entry.currency] >= floor, f"{player} fell below the floor at {event.position}"
                    assert not aside or balances[entry.account, entry.currency] >= 0, "more came out of escrow than was put aside"
            case said.CreditLineChanged() as it:
                lines[f"player:{player}", it.currency] = it.limit_minor
                assert balances[f"player:{player}", it.currency] >= -it.limit_minor
            case said.PurchaseCompleted() as it:
                assert it.charged_minor == it.price_minor - it.discount_minor >= 0
                charged[player, it.request_id] = it.charged_minor
            case said.RefundCompleted() as it:
                back[player, it.purchase_id] += it.amount_minor
                assert back[player, it.purchase_id] == it.refunded_minor <= charged[player, it.purchase_id], "more came back than was paid"
                assert it.whole == (it.refunded_minor == charged[player, it.purchase_id])
            case _:
                pass
        if isinstance(event.data, ANSWERS) and getattr(event.data, "request_digest", ""):
            answers[player, getattr(event.data, "request_id", "") or event.data.hold] += 1  # type: ignore[union-attr]
    assert [name for name, times in transfers.items() if times > 1] == [], "a transfer was posted twice"
    assert [name for name, times in answers.items() if times > 1] == [], "a request was answered twice"
    _check_zero(balances)
    return dict(balances)


def _post(it: said.TransferPosted, player: str, balances: Balances) -> None:
    sums: Counter[str] = Counter()
    for entry in it.entries:
        assert entry.amount_minor != 0
        kind, _, owner = entry.account.partition(":")
        assert not owner or (kind in ("player", "escrow") and owner == player), "a lane moved another player's money"
        sums[entry.currency] += entry.amount_minor
        balances[entry.account, entry.currency] += entry.amount_minor
    assert len(it.entries) >= 2
    assert set(sums.values()) == {0}, "a transfer made or lost money"


def _check_zero(balances: Balances) -> None:
    sums: Counter[str] = Counter()
    for (_, currency), amount in balances.items():
        sums[currency] += amount
    assert all(amount == 0 for amount in sums.values()), sums
