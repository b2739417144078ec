-- Inputs that wait: parked ones with the reason, deferred ones behind them. Empty when all is well.
CREATE TABLE parked (
    world           text,
    handler         text,
    entity          text,
    input           bigint,
    status          text,
    code            text,
    reason          text,
    error_type      text,
    frames          text[],
    stack           text,
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
COMMENT ON COLUMN parked.error_type IS 'Python class of the error.';
COMMENT ON COLUMN parked.frames IS 'The last frames of its traceback, innermost last: file:line function.';
COMMENT ON COLUMN parked.stack IS 'What the blocked thread executed, of a decision that did not return (HANDLER_HUNG).';
