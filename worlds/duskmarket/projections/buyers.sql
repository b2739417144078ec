-- Every buyer who has answered an offer, and how.
CREATE TABLE buyers (
    world       text,
    buyer       text,
    accepted    bigint NOT NULL DEFAULT 0,
    countered   bigint NOT NULL DEFAULT 0,
    turned_down bigint NOT NULL DEFAULT 0,
    position    bigint,
    PRIMARY KEY (world, buyer)
);

-- What buyers think of brokers; without a row nothing yet.
CREATE TABLE regards (
    world    text,
    buyer    text,
    player   text,
    regard   integer,
    cause    text,
    position bigint,
    PRIMARY KEY (world, buyer, player)
);
COMMENT ON COLUMN regards.regard IS 'Thousandths, -1000 (never again) to 1000 (would buy blindly).';

-- Of what buyers have enough for now.
CREATE TABLE appetites (
    world    text,
    buyer    text,
    kind     text,
    sated    integer,
    position bigint,
    PRIMARY KEY (world, buyer, kind)
);
COMMENT ON COLUMN appetites.sated IS 'How much of the appetite is gone, thousandths.';
