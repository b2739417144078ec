-- Everything that ships ever declared.
CREATE TABLE manifests (
    world       text,
    ship        text,
    declaration bigint,
    station     text,
    good        text,
    tonnes      bigint,
    state       text NOT NULL DEFAULT 'declared',
    duty_minor  bigint,
    position    bigint,
    PRIMARY KEY (world, ship, declaration)
);
COMMENT ON COLUMN manifests.state IS 'declared, unloaded or seized.';
COMMENT ON COLUMN manifests.duty_minor IS 'Hundredths of a mark; null until it is unloaded.';
