-- Every coupon that was defined.
CREATE TABLE coupons (
    world            text,
    coupon           text,
    percent          integer,
    amount_minor     bigint,
    currency         text,
    expires_world_ms bigint,
    per_player       bigint,
    in_total         bigint,
    skus             text[],
    used             bigint NOT NULL DEFAULT 0,
    ended            text,
    ended_reason     text,
    position         bigint,
    PRIMARY KEY (world, coupon)
);
COMMENT ON COLUMN coupons.skus IS 'What it is good for; empty means anything.';
COMMENT ON COLUMN coupons.ended IS 'expired or withdrawn; null while it is good.';

-- Who used which coupon for which purchase; uses that were given back are gone.
CREATE TABLE coupon_uses (
    world      text,
    coupon     text,
    player     text,
    request_id text,
    used_at    timestamptz,
    position   bigint,
    PRIMARY KEY (world, coupon, player, request_id)
);
