"""The laws of money over a log in memory; `bench/chaos/checks/money.py` says which."""

from __future__ import annotations

from collections.abc import Iterable

from bench.chaos.checks.money import audit
from bus.event import Event


def check_ledger(log: Iterable[Event], *, rewards: bool = False) -> dict[tuple[str, str], int]:
    """Every law of money holds at every position of `log` (one world); returns the balances by (account, currency) at its end.

    `rewards`: also that each one was paid; for logs in which payment and inventory have heard everything.
    """
    found, balances = audit(log)

    assert [str(one) for one in found if rewards or one.rule != "M6"] == []
    sums: dict[str, int] = {}
    for (_, _, currency), amount in balances.items():
        sums[currency] = sums.get(currency, 0) + amount
    assert not any(sums.values()), sums
    return {(account, currency): amount for (_, account, currency), amount in balances.items()}
