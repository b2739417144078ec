"""Money, items and the trade as tables: they say what the handlers know, and every documented query is answered."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest
from google.protobuf.message import Message

from bus.errors import StoreUnavailable
from bus.testing import Rehearsal
from projections import Listed, Projector
from projections.coupons import coupons
from projections.items import items
from projections.payments import payments
from projections.query import query
from schemas.gen.worldbus.broker.v1 import broker_pb2 as trade
from schemas.gen.worldbus.coupon.v1.coupon_pb2 import CouponDefinitionRequested
from schemas.gen.worldbus.game.v1.game_pb2 import ItemCollected
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemUseRequested
from schemas.gen.worldbus.payment.v1 import payment_pb2 as money
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider
from schemas.gen.worldbus.payment.v1.types_pb2 import ProviderRefund
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed
from tests.duskmarket import ALL, broker, coupon, inventory, market, payment
from tests.ledger import check_ledger
from worldbus.edges.payments import Owner, owners_in
from worlds.duskmarket.projections.brokers import brokers
from worlds.duskmarket.projections.buyers import buyers

PAGES = Path(__file__).parents[3] / "docs" / "reference"
PROJECTIONS = [payments, coupons, items, brokers, buyers]
PLAYERS = ("mira", "tam")


def queries(page: str) -> list[str]:
    """The statements of a page."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", (PAGES / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    return [statement.strip() for block in blocks for statement in block.split(";\n") if statement.strip()]


def a_market_day() -> Rehearsal:
    """Two players buy, hold, refund, trade, and are raided."""
    town = Rehearsal(*(one for one in ALL if one.name in ("time", "player", "payment", "coupon", "inventory", "broker", "market")))
    town.say(ClockStartRequested(scale=60_000), entity="clock")  # a world minute per second
    town.say(CouponDefinitionRequested(percent=50, in_total=1), entity="HALF", subsystem="operator")
    for player in PLAYERS:
        town.say(PlayerJoined(display_name=player, zone="quay"), entity=player)
        town.say(money.PurchaseRequested(request_id="p1", sku="night-kit", coupon="HALF"), entity=player)
        town.say(money.PurchaseRequested(request_id="p2", sku="lantern"), entity=player)
        town.say(money.PurchaseRequested(request_id="p3", sku="moon"), entity=player)
        town.say(money.RefundRequested(request_id="r1", purchase_id="p2", amount_minor=50), entity=player, subsystem="operator")
        town.say(money.HoldRequested(request_id="h1", currency="crowns", amount_minor=400, for_real_ms=5_000), entity=player)
        town.say(money.HoldRequested(request_id="h2", currency="crowns", amount_minor=300), entity=player)
        town.say(money.HoldCaptureRequested(hold="h2", amount_minor=100), entity=player)
        town.say(ItemCollected(item="oil", quantity=3, place="quay"), entity=player)
        town.say(ItemUseRequested(sku="oil", quantity=2), entity=player)
        trading(town, player)
    town.say(
        provider.PaymentReceived(payment_id="pi_1", pack="purse", paid_currency="eur", paid_minor=499),
        entity="mira",
        subsystem="payments-provider",
    )
    town.say(provider.PaymentDisputed(payment_id="pi_1", dispute_id="dp_1"), entity="mira", subsystem="payments-provider")
    return town


def trading(town: Rehearsal, player: str) -> None:
    for _ in range(20):
        town.say(trade.AcquisitionRequested(source="drowned-quay"), entity=player)
        town.say(trade.AcquisitionRequested(source="surgeons-door"), entity=player)
        town.say(RealTimePassed(real_ms=30_000), entity="clock")
        for good in list(town.state(broker, player).goods)[:1]:
            for ask in (200, 150, 90):
                town.say(trade.SaleRequested(good=good, buyer="madame-orla", ask_minor=ask), entity=player)
            town.say(trade.CounterAcceptRequested(good=good), entity=player)
    town.say(trade.AcquisitionRequested(source="drowned-quay"), entity=player)


@pytest.fixture
async def day(database: str) -> Rehearsal:
    town = a_market_day()
    await Projector(database, PROJECTIONS).run(Listed(town.log, batch=7))
    return town


async def test_every_documented_query_is_answered(day: Rehearsal, reader: str) -> None:
    assert (await query(reader, "SELECT position, projection, reason FROM skipped")).rows == []
    for page, least in (("payment", 7), ("inventory", 3), ("broker", 5), ("market", 3)):
        found = queries(page)
        assert len(found) >= least, f"{page}.md shows too few queries"
        for statement in found:
            assert (await query(reader, statement)).rows, f"{page}.md: no row for {statement}"


async def test_balances_are_the_sums_of_the_ledger_and_what_the_handler_knows(day: Rehearsal, reader: str) -> None:
    known = {key: amount for key, amount in check_ledger(day.log).items() if amount}
    rows = (await query(reader, "SELECT account, currency, balance_minor FROM balances")).rows
    sums = (await query(reader, "SELECT account, currency, sum(amount_minor)::bigint FROM ledger GROUP BY account, currency")).rows

    assert {(account, currency): amount for account, currency, amount in rows if amount} == known
    assert sorted(sums) == sorted(rows)
    assert {total for _, total in (await query(reader, "SELECT currency, sum_minor FROM ledger_check")).rows} == {0}
    for player in PLAYERS:
        wallet = (await query(reader, f"SELECT currency, balance_minor, held_minor FROM wallets WHERE player = '{player}'")).rows
        account = day.state(payment, player)
        assert {currency: amount for currency, amount, _ in wallet} == account.balances
        assert sum(held for *_, held in wallet) == sum(hold.amount for hold in account.holds.values())


async def test_purchases_holds_coupons_and_real_payments_are_told(day: Rehearsal, reader: str) -> None:
    async def ask(sql: str) -> list[tuple[object, ...]]:
        return (await query(reader, sql)).rows

    assert await ask("SELECT player, request_id, charged_minor, refunded_minor, coupon FROM purchases ORDER BY 1, 2") == [
        ("mira", "p1", 750, 0, "HALF"),
        ("mira", "p2", 450, 50, None),
        ("tam", "p2", 450, 50, None),
    ]
    assert await ask("SELECT hold, ended, captured_minor FROM holds WHERE player = 'mira' ORDER BY 1") == [
        ("h1", "expired", None),
        ("h2", "captured", 100),
    ]
    assert await ask("SELECT DISTINCT code FROM payments_declined WHERE answer = 'PurchaseDeclined' ORDER BY 1") == [
        ("COUPON_USED_UP",),
        ("UNKNOWN_SKU",),
    ]
    assert await ask("SELECT coupon, used, in_total FROM coupons") == [("HALF", day.state(coupon, "HALF").used, 1)]
    assert await ask("SELECT player, request_id FROM coupon_uses") == [("mira", "p1")]
    real = await ask("SELECT player, pack, given_minor, disputes_open FROM real_payments")
    assert real == [("mira", "purse", 0, 1)]


async def test_refunds_inquiries_and_odd_prices_of_real_payments_are_told(database: str, reader: str) -> None:
    town = Rehearsal(payment, coupon)

    def hear(message: Message) -> None:
        town.say(message, entity="mira", subsystem="payments-provider")

    for number, paid in ((1, 499), (2, 594), (3, 300)):
        hear(provider.PaymentReceived(payment_id=f"pi_{number}", pack="purse", paid_currency="eur", paid_minor=paid))
    for state in ("succeeded", "failed"):
        hear(provider.PaymentRefunded(payment_id="pi_1", refunds=[ProviderRefund(refund_id="re_1", amount_minor=100, state=state)]))
    hear(provider.PaymentInquired(payment_id="pi_1", inquiry_id="dp_1", kind="inquiry"))
    hear(provider.PaymentReceived(payment_id="pi_3", pack="purse", paid_currency="eur", paid_minor=300, subtotal_minor=499))
    hear(provider.PaymentReceived(payment_id="pi_4", pack="moon", paid_currency="eur", paid_minor=5))
    await Projector(database, PROJECTIONS).run(Listed(town.log))

    columns = "payment_id, paid_minor, paid_currency, price_minor, refunded_minor, inquiries, given_minor, refused"
    assert (await query(reader, f"SELECT {columns} FROM real_payments ORDER BY 1")).rows == [
        ("pi_1", 499, "eur", None, 0, 1, 10_000, None),
        ("pi_2", 594, "eur", 499, 0, 0, 10_000, None),
        ("pi_3", 300, "eur", 499, 0, 0, 10_000, None),
        ("pi_4", 5, "eur", None, None, None, 0, "UNKNOWN_PACK"),
    ]


async def test_items_goods_and_regard_are_what_the_handlers_know(day: Rehearsal, reader: str) -> None:
    for player in PLAYERS:
        carried = (await query(reader, f"SELECT sku, quantity FROM items WHERE player = '{player}'")).rows
        assert dict(carried) == day.state(inventory, player).items
        held = (await query(reader, f"SELECT good, condition, pace FROM goods WHERE player = '{player}' AND state = 'held'")).rows
        state = day.state(broker, player)
        assert {good: (condition, pace) for good, condition, pace in held} == {
            good: (one.condition, one.pace) for good, one in state.goods.items()
        }
        assert (await query(reader, f"SELECT heat FROM brokers WHERE player = '{player}'")).rows == [(state.heat,)]
        regard = (await query(reader, f"SELECT regard FROM regards WHERE buyer = 'madame-orla' AND player = '{player}'")).rows
        assert regard == [(day.state(market, "madame-orla").knows(player).regard,)]
    sated = (await query(reader, "SELECT kind, sated FROM appetites WHERE buyer = 'madame-orla'")).rows
    assert dict(sated) == day.state(market, "madame-orla").sated
    struck, sold = len(day.said(trade.BargainStruck)), (await query(reader, "SELECT count(*) FROM bargains")).rows
    assert sold == [(struck,)]
    assert struck >= 4


async def test_a_disputes_owner_is_found_in_the_tables(day: Rehearsal, reader: str) -> None:
    pool = await asyncpg.create_pool(reader, min_size=1, max_size=1)
    find = owners_in(pool)

    assert await find("pi_1") == Owner("testworld", "mira")
    assert await find("pi_2") is None
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await find("pi_1")
