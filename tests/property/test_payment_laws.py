"""Laws of money, whatever is asked in whatever order, however often."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.payment.provider import entitled, learned
from handlers.payment.state import Account, Real, escrow_of
from handlers.payment.tables import Pack
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as coupons
from schemas.gen.worldbus.payment.v1 import payment_pb2 as said
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider
from schemas.gen.worldbus.quest.v1.quest_pb2 import QuestRewarded
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import coupon, payment, time
from tests.ledger import check_ledger

PLAYERS = ("mira", "tam")
ids = st.sampled_from([f"r{number}" for number in range(12)])
amounts = st.one_of(st.integers(-5, 3000), st.sampled_from([10**12, 10**12 + 1, 2**63 - 1, -(2**63)]))
currencies = st.sampled_from(["crowns", "crowns", "teeth", "pearls", ""])
skus = st.sampled_from(["lantern", "forged-papers", "embalming-salts", "night-kit", "moon"])
names = st.sampled_from(["", "", "HALF", "TWICE", "NEVER", "no good"])
payment_ids = st.sampled_from(["pi_1", "pi_2"])
Step = tuple[str, str, Message]  # edge, entity, message


def made(cls: type[Message], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    """Messages whose fields are drawn from these."""
    return st.fixed_dictionaries(fields).map(lambda drawn: cls(**drawn))


of_players: dict[str, st.SearchStrategy[Message]] = {
    "game": st.one_of(
        made(said.PurchaseRequested, request_id=ids, sku=skus, quantity=st.integers(-1, 4), currency=currencies, coupon=names),
        made(said.HoldRequested, request_id=ids, currency=currencies, amount_minor=amounts, for_real_ms=st.integers(-1, 60_000)),
        made(said.HoldCaptureRequested, request_id=ids, hold=ids, amount_minor=amounts),
        made(said.HoldReleaseRequested, request_id=ids, hold=ids),
    ),
    "operator": st.one_of(
        made(said.RefundRequested, request_id=ids, purchase_id=ids, amount_minor=amounts),
        made(said.RefundRequested, request_id=ids, purchase_id=ids),
        made(said.CreditRequested, request_id=ids, currency=currencies, amount_minor=amounts),
        made(said.CreditLineRequested, request_id=ids, currency=currencies, limit_minor=amounts),
    ),
    "broker": made(
        said.ChargeRequested, request_id=ids, currency=currencies, amount_minor=amounts, to=st.just("city"), up_to=st.booleans()
    ),
    "quest": made(QuestRewarded, player=st.just("mira"), quest=st.just("q"), currency=currencies, amount_minor=amounts),
    "payments-provider": st.one_of(
        made(
            provider.PaymentReceived,
            payment_id=payment_ids,
            pack=st.sampled_from(["purse", "jawbone", "moon"]),
            paid_currency=st.just("eur"),
            paid_minor=st.sampled_from([499, 999, 1]),
        ),
        made(provider.PaymentRefunded, payment_id=payment_ids, refunded_minor=amounts),
        made(provider.PaymentDisputed, payment_id=payment_ids, dispute_id=ids),
        made(provider.DisputeSettled, payment_id=payment_ids, dispute_id=ids, won=st.booleans()),
    ),
}
steps: st.SearchStrategy[Step] = st.one_of(
    *(st.tuples(st.just(edge), st.sampled_from(PLAYERS), wishes) for edge, wishes in of_players.items()),
    of_players["game"].map(lambda wish: ("game", "mira", wish)),
    st.integers(1, 40_000).map(lambda ms: ("game", "clock", RealTimePassed(real_ms=ms))),
    st.sampled_from(["HALF", "TWICE"]).map(lambda name: ("game", name, coupons.CouponWithdrawalRequested())),
)


def live(said_in_order: list[Step]) -> Rehearsal:
    town = Rehearsal(time, payment, coupon)
    town.say(ClockStartRequested(), entity="clock")
    town.say(coupons.CouponDefinitionRequested(percent=50, expires_world_ms=100_000, per_player=3), entity="HALF", subsystem="studio")
    town.say(coupons.CouponDefinitionRequested(amount_minor=10**6, currency="crowns", in_total=2), entity="TWICE", subsystem="studio")
    for edge, entity, message in said_in_order:
        town.say(message, entity=message.player if isinstance(message, QuestRewarded) else entity, subsystem=edge)
    return town


@given(st.lists(steps, max_size=60))
@settings(deadline=None)
def test_the_ledger_balances_at_every_position_and_states_are_its_fold(wishes: list[Step]) -> None:
    town = live(wishes)
    balances = check_ledger(town.log)

    for player in PLAYERS:
        account: Account = town.state(payment, player)
        for currency in ("crowns", "teeth", "pearls", ""):
            assert account.balance(currency) == balances.get((f"player:{player}", currency), 0)
            held = sum(hold.amount for hold in account.holds.values() if hold.currency == currency)
            assert held == balances.get((escrow_of(player), currency), 0)
        assert account.wanted == {}, "a purchase still waits for a coupon that was answered"
        assert account.disputed == sum(bool(real.open) for page in account.payments for real in page.values())
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(account), type=Account) == account
    assert town.refold() == {lane: town.state(town.handlers[lane[0]], lane[1]) for lane in town.refold()}


@given(st.lists(steps, max_size=25), st.data())
@settings(deadline=None)
def test_asking_everything_again_moves_nothing(wishes: list[Step], data: Any) -> None:
    """A client that lost every answer sends every request again, in any order: nobody's money moves."""
    requests = [
        step
        for step in wishes
        if step[0] in ("game", "operator", "broker") and step[1] != "clock" and "request_id" in step[2].DESCRIPTOR.fields_by_name
    ]
    town = live(requests)
    before = (check_ledger(town.log), len(town.said(said.TransferPosted)))
    for edge, entity, message in data.draw(st.permutations(requests)):
        town.say(message, entity=entity, subsystem=edge)

    assert (check_ledger(town.log), len(town.said(said.TransferPosted))) == before


@given(st.lists(steps, max_size=60))
@settings(deadline=None)
def test_a_coupon_is_used_as_often_as_purchases_were_made_with_it(wishes: list[Step]) -> None:
    town = live(wishes)
    made = Counter((event.data.coupon, event.entity) for event in town.log if isinstance(event.data, said.PurchaseCompleted))
    for name, per_player, in_total in (("HALF", 3, 10**9), ("TWICE", 10**9, 2)):
        state = town.state(coupon, name)
        used = {player: times for (code, player), times in made.items() if code == name}

        assert state.used == sum(used.values()) <= in_total
        assert {player: times for page in state.by_player for player, times in page.items() if times} == used
        assert all(times <= per_player for times in used.values())


@given(st.lists(steps, max_size=40))
@settings(deadline=None)
def test_every_hold_ends_and_escrow_is_empty_after_its_time(wishes: list[Step]) -> None:
    town = live(wishes)
    for _ in range(2):  # an hour of real time: longer than any hold that was asked for
        town.say(RealTimePassed(real_ms=3_600_000), entity="clock")

    balances = check_ledger(town.log)
    ended = Counter((event.entity, event.data.hold) for event in town.log if isinstance(event.data, said.HoldCaptured | said.HoldReleased))
    placed = Counter((event.entity, event.data.hold) for event in town.log if isinstance(event.data, said.HoldPlaced))
    assert ended == placed
    assert not any(amount for (account, _), amount in balances.items() if account.startswith("escrow:"))
    assert all(town.state(payment, player).holds == {} for player in PLAYERS)


NEWS = st.lists(
    st.one_of(
        st.just(provider.PaymentReceived(payment_id="pi", pack="purse", paid_currency="eur", paid_minor=499)),
        made(provider.PaymentRefunded, payment_id=st.just("pi"), refunded_minor=st.integers(0, 600)),
        made(provider.PaymentDisputed, payment_id=st.just("pi"), dispute_id=st.sampled_from("abc")),
        st.just(provider.PaymentFailed(payment_id="pi")),
    ),
    max_size=8,
)
VERDICTS = st.dictionaries(st.sampled_from("abc"), st.booleans())


@given(NEWS, VERDICTS, st.data())
@settings(deadline=None)
def test_the_order_of_news_does_not_matter(news: list[Any], verdicts: dict[str, bool], data: Any) -> None:
    """What is known, and what the player has while nothing is spent, depends on what the provider said and not on when or how often."""
    everything = [*news, *(provider.DisputeSettled(payment_id="pi", dispute_id=name, won=won) for name, won in verdicts.items())]
    known, balances = [], []
    for order in (everything, data.draw(st.permutations([*everything, *everything[:3]]))):
        real = Real()
        for one in order:
            real = learned(real, one)
        town = live([("payments-provider", "mira", one) for one in order])
        known.append(real)
        balances.append(check_ledger(town.log).get(("provider", "crowns"), 0))
        pack = Pack(currency="crowns", amount_minor=10_000, prices={"eur": 499})
        assert balances[-1] == -entitled(pack, real)

    assert known[0] == known[1]
    assert balances[0] == balances[1]
