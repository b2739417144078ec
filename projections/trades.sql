-- Every trade between two players, and how it ended.
CREATE TABLE trades (
    world       text,
    trade       text,
    phase       text,
    player      text,
    partner     text,
    revision    integer,
    cause       text,
    proposed_at timestamptz,
    ended_at    timestamptz,
    position    bigint,
    PRIMARY KEY (world, trade)
);
COMMENT ON COLUMN trades.phase IS 'open, settled or cancelled.';
COMMENT ON COLUMN trades.cause IS 'Why it was cancelled: asked, time_over or not_there.';
