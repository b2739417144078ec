-- migrate:up

-- An event that nobody could take in is on record until somebody says that they have seen it: until then `worldbus check` is red.
ALTER TABLE worldbus.skipped
    ADD COLUMN acknowledged_at timestamptz,
    ADD COLUMN acknowledged_by text,
    ADD COLUMN note            text;
COMMENT ON TABLE worldbus.skipped IS 'Events that a projection could not take in. They stay on record; somebody acknowledges them (`worldbus skipped ack`).';
COMMENT ON COLUMN worldbus.skipped.acknowledged_at IS 'When somebody said that they have seen it; null until then.';
COMMENT ON COLUMN worldbus.skipped.acknowledged_by IS 'By whom, as they gave it or as the system knows them: user@host.';
COMMENT ON COLUMN worldbus.skipped.note IS 'In their own words: why, and what was done.';
CREATE INDEX skipped_open ON worldbus.skipped (position) WHERE acknowledged_at IS NULL;

CREATE OR REPLACE VIEW world.skipped AS
SELECT position, projection, code, reason, acknowledged_at, acknowledged_by, note FROM worldbus.skipped;

-- migrate:down
DROP VIEW world.skipped;
ALTER TABLE worldbus.skipped DROP COLUMN acknowledged_at, DROP COLUMN acknowledged_by, DROP COLUMN note;
COMMENT ON TABLE worldbus.skipped IS NULL;
CREATE VIEW world.skipped AS SELECT position, projection, code, reason FROM worldbus.skipped;
COMMENT ON VIEW world.skipped IS 'Events that a projection could not take in, with the reason.';
GRANT SELECT ON world.skipped TO worldbus_reader;
