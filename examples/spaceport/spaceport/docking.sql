-- The ships at each station.
CREATE TABLE berths (
    world    text,
    station  text,
    ship     text,
    berth    integer,
    since    timestamptz,
    position bigint,
    PRIMARY KEY (world, station, ship)
);
COMMENT ON COLUMN berths.berth IS 'Null while the ship waits for one.';
