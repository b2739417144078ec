"""Coupons as tables: what each is good for, and who used it."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.coupon.v1 import coupon_pb2 as said

COUPONS = Table("coupons", key=("world", "coupon"))
USES = Table("coupon_uses", key=("world", "coupon", "player", "request_id"))


def defined(event: Event, it: said.CouponDefined) -> Change:
    return COUPONS.put(
        *(event.world, event.entity),
        percent=it.percent, amount_minor=it.amount_minor, currency=it.currency or None, expires_world_ms=it.expires_world_ms or None,
        per_player=it.per_player or None, in_total=it.in_total or None, skus=list(it.skus),
    )  # fmt: skip


def honoured(event: Event, it: said.CouponHonoured) -> list[Change]:
    use = USES.put(event.world, event.entity, it.player, it.request_id, used_at=event.time_ns)
    return [COUPONS.put(event.world, event.entity, used=it.used), use]


def restored(event: Event, it: said.CouponRestored) -> list[Change]:
    use = USES.drop(event.world, event.entity, it.player, it.request_id)
    return [COUPONS.put(event.world, event.entity, used=it.used), use]


def expired(event: Event, it: said.CouponExpired) -> Change:
    return COUPONS.put(event.world, event.entity, ended="expired")


def withdrawn(event: Event, it: said.CouponWithdrawn) -> Change:
    return COUPONS.put(event.world, event.entity, ended="withdrawn", ended_reason=it.reason)


coupons = Projection(
    name="coupons",
    version=1,
    said_by="coupon",
    schema=sql_beside(__file__),
    tables=(COUPONS, USES),
    on={
        said.CouponDefined: defined,
        said.CouponHonoured: honoured,
        said.CouponRestored: restored,
        said.CouponExpired: expired,
        said.CouponWithdrawn: withdrawn,
    },
)
