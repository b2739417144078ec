-- Every beacon that was ever lit.
CREATE TABLE beacons (
    world      text,
    beacon     text,
    burning    boolean NOT NULL DEFAULT false,
    keeper     text NOT NULL DEFAULT '',
    times_lit  bigint NOT NULL DEFAULT 0,
    changed_at timestamptz,
    position   bigint,
    PRIMARY KEY (world, beacon)
);
COMMENT ON COLUMN beacons.keeper IS 'Who lit it last; empty: nobody in particular.';
