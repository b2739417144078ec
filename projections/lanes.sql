-- Inputs that wait: parked ones with the reason, deferred ones behind them. Empty when all is well.
CREATE TABLE parked (
    world           text,
    handler         text,
    entity          text,
    input           bigint,
    status          text,
    code            text,
    reason          text,
    type            text,
    event_id        text,
    attempts        integer,
    retries         integer NOT NULL DEFAULT 0,
    handler_version text,
    since           timestamptz,
    position        bigint,
    PRIMARY KEY (world, handler, entity, input)
);
COMMENT ON COLUMN parked.input IS 'Position of the input in the log.';
COMMENT ON COLUMN parked.status IS 'parked (it failed) or deferred (it waits behind one that failed).';
