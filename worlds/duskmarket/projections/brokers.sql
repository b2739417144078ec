-- Every player who trades between the worlds.
CREATE TABLE brokers (
    world           text,
    player          text,
    heat            integer NOT NULL DEFAULT 0,
    goods_acquired  bigint NOT NULL DEFAULT 0,
    goods_lost      bigint NOT NULL DEFAULT 0,
    bargains_struck bigint NOT NULL DEFAULT 0,
    raids_suffered  bigint NOT NULL DEFAULT 0,
    position        bigint,
    PRIMARY KEY (world, player)
);
COMMENT ON COLUMN brokers.heat IS 'What the authorities know, thousandths, 0 to 1000.';
COMMENT ON COLUMN brokers.goods_lost IS 'Spoiled, discarded, confiscated or parted with.';

-- Every good there was, and what became of it.
CREATE TABLE goods (
    world         text,
    player        text,
    good          text,
    kind          text,
    source        text,
    cost_currency text,
    cost_minor    bigint,
    condition     integer,
    pace          integer NOT NULL DEFAULT 1000,
    preserved_by  text,
    state         text,
    offered_to    text,
    ask_minor     bigint,
    counter_minor bigint,
    rounds        integer,
    last_refusal  text,
    acquired_at   timestamptz,
    position      bigint,
    PRIMARY KEY (world, player, good)
);
COMMENT ON COLUMN goods.condition IS 'Thousandths of fresh; of a good that is gone, the last one known.';
COMMENT ON COLUMN goods.pace IS 'How fast it decays, thousandths of its kind''s rate.';
COMMENT ON COLUMN goods.state IS 'held, sold, spoiled, discarded, confiscated or parted (given, used or traded).';

-- Every bargain.
CREATE TABLE bargains (
    world       text,
    player      text,
    good        text,
    buyer       text,
    kind        text,
    condition   integer,
    currency    text,
    price_minor bigint,
    rounds      integer,
    struck_at   timestamptz,
    position    bigint,
    PRIMARY KEY (world, player, good)
);

-- Every visit of the authorities.
CREATE TABLE raids (
    world       text,
    position    bigint,
    player      text,
    goods       text[],
    currency    text,
    fine_minor  bigint,
    heat_before integer,
    suffered_at timestamptz,
    PRIMARY KEY (world, position)
);
COMMENT ON COLUMN raids.fine_minor IS 'What was asked; payment took no more than the player had.';

CREATE VIEW profits AS
SELECT b.world, b.player, b.kind, count(*) AS sold, b.currency, sum(b.price_minor)::bigint AS earned_minor, max(g.cost_currency) AS cost_currency,
       sum(g.cost_minor)::bigint AS cost_minor
FROM bargains AS b
JOIN goods AS g ON g.world = b.world AND g.player = b.player AND g.good = b.good
GROUP BY b.world, b.player, b.kind, b.currency;
COMMENT ON VIEW profits IS 'What each kind of good brought and had cost, in the currencies of the two worlds.';
