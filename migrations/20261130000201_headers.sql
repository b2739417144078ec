-- migrate:up

-- A CloudEvent in binary mode lies partly in its headers. Rows without them stay as they are, and so do their hashes.
ALTER TABLE worldbus.events ADD COLUMN header bytea;
COMMENT ON COLUMN worldbus.events.header IS
    'The header lines that are part of the event, as they came: those of a CloudEvent in binary mode. Null for every other event.';
COMMENT ON COLUMN worldbus.events.chain IS
    'sha256(chain of position - 1 || position as 8 bytes || byte length of the stored subject as 4 bytes || stored subject || raw); 32 zero bytes before position 1. Numbers are big-endian. Where there is a header, the length of the subject has its highest bit set, and byte length of the header as 4 bytes || header come before raw.';

CREATE OR REPLACE VIEW world.events AS
SELECT position, event_id, 'evt.' || world || '.' || subsystem || '.' || entity || '.' || name AS subject, partition,
       world, subsystem, entity, name, type, time, recorded_at, cause, correlation, depth, raw, chain, header
  FROM worldbus.events;

COMMENT ON COLUMN worldbus.skipped.projection IS 'Its name, or * when the event itself cannot be read: then nobody decides it either.';

-- migrate:down
DROP VIEW world.events;
CREATE VIEW world.events AS
SELECT position, event_id, 'evt.' || world || '.' || subsystem || '.' || entity || '.' || name AS subject, partition,
       world, subsystem, entity, name, type, time, recorded_at, cause, correlation, depth, raw, chain
  FROM worldbus.events;
COMMENT ON VIEW world.events IS 'The archive: every event of the log, by position.';
ALTER TABLE worldbus.events DROP COLUMN header;
COMMENT ON COLUMN worldbus.events.chain IS
    'sha256(chain of position - 1 || position as 8 bytes || byte length of the stored subject as 4 bytes || stored subject || raw); 32 zero bytes before position 1. Numbers are big-endian.';
COMMENT ON COLUMN worldbus.skipped.projection IS 'Its name, or * when the envelope itself cannot be read.';
