-- Every leg of every transfer, for ever. Nothing is updated: a correction is another transfer.
CREATE TABLE ledger (
    world        text,
    position     bigint,
    leg          integer,
    player       text,
    account      text,
    currency     text,
    amount_minor bigint,
    transfer_id  text,
    reason       text,
    reference    text,
    posted_at    timestamptz,
    PRIMARY KEY (world, position, leg)
);
CREATE INDEX ledger_account ON ledger (world, account, position);
COMMENT ON COLUMN ledger.position IS 'Of the TransferPosted in the log; its legs sum to zero per currency.';
COMMENT ON COLUMN ledger.amount_minor IS 'What the account gained or lost, in minor units of the currency.';

-- What every account holds: the sum of its legs.
CREATE TABLE balances (
    world         text,
    account       text,
    currency      text,
    balance_minor bigint NOT NULL DEFAULT 0,
    transfers     bigint NOT NULL DEFAULT 0,
    position      bigint,
    PRIMARY KEY (world, account, currency)
);
COMMENT ON COLUMN balances.account IS 'player:<player>, escrow:<player> (held money) or a system account, which may be below zero.';

-- How far below zero a player may go; without a row not at all.
CREATE TABLE credit_lines (
    world       text,
    player      text,
    currency    text,
    limit_minor bigint,
    position    bigint,
    PRIMARY KEY (world, player, currency)
);

-- What players bought, and what came back of it.
CREATE TABLE purchases (
    world          text,
    player         text,
    request_id     text,
    sku            text,
    quantity       bigint,
    currency       text,
    price_minor    bigint,
    discount_minor bigint,
    charged_minor  bigint,
    refunded_minor bigint NOT NULL DEFAULT 0,
    coupon         text,
    bought_at      timestamptz,
    refunded_at    timestamptz,
    position       bigint,
    PRIMARY KEY (world, player, request_id)
);

-- Money put aside; what is still held has no end.
CREATE TABLE holds (
    world          text,
    player         text,
    hold           text,
    currency       text,
    amount_minor   bigint,
    captured_minor bigint,
    for_real_ms    bigint,
    placed_at      timestamptz,
    ended          text,
    ended_at       timestamptz,
    position       bigint,
    PRIMARY KEY (world, player, hold)
);
COMMENT ON COLUMN holds.ended IS 'captured, released or expired.';

-- Every "no", with its reason.
CREATE TABLE payments_declined (
    world       text,
    position    bigint,
    player      text,
    answer      text,
    request_id  text,
    code        text,
    reason      text,
    declined_at timestamptz,
    PRIMARY KEY (world, position)
);

-- What is known of real payments, and what virtual money came of them.
CREATE TABLE real_payments (
    world             text,
    payment_id        text,
    player            text,
    pack              text,
    paid_minor        bigint,
    paid_currency     text,
    price_minor       bigint,
    refunded_minor    bigint,
    inquiries         integer,
    disputes_open     integer,
    disputes_lost     integer,
    failed            boolean,
    currency          text,
    given_minor       bigint NOT NULL DEFAULT 0,
    written_off_minor bigint NOT NULL DEFAULT 0,
    refused           text,
    refused_reason    text,
    position          bigint,
    PRIMARY KEY (world, payment_id)
);
COMMENT ON COLUMN real_payments.price_minor IS 'The price of the pack, where something else was paid and the pack was delivered all the same.';
COMMENT ON COLUMN real_payments.refused IS 'Code of the last refusal; such a payment waits for a person.';
COMMENT ON COLUMN real_payments.given_minor IS 'Virtual money that is out for this payment, in minor units of currency.';
COMMENT ON COLUMN real_payments.written_off_minor IS 'Of what was taken back, what the player had spent already.';

CREATE VIEW wallets AS
SELECT b.world, substr(b.account, 8) AS player, b.currency, b.balance_minor, coalesce(h.balance_minor, 0) AS held_minor,
       coalesce(l.limit_minor, 0) AS credit_minor
FROM balances AS b
LEFT JOIN balances AS h ON h.world = b.world AND h.account = 'escrow:' || substr(b.account, 8) AND h.currency = b.currency
LEFT JOIN credit_lines AS l ON l.world = b.world AND l.player = substr(b.account, 8) AND l.currency = b.currency
WHERE b.account LIKE 'player:%';
COMMENT ON VIEW wallets IS 'What each player has, has put aside, and may owe.';

CREATE VIEW ledger_check AS
SELECT world, currency, sum(balance_minor)::bigint AS sum_minor, sum(transfers)::bigint AS legs FROM balances GROUP BY world, currency;
COMMENT ON VIEW ledger_check IS 'sum_minor is 0 in every row, always.';
