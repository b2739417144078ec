-- migrate:up

-- `worldbus` is ours: the archive, the checkpoint and the projections' book-keeping. `world` holds what readers may see: views only.
CREATE SCHEMA worldbus;
CREATE SCHEMA world;
COMMENT ON SCHEMA worldbus IS 'Written by the projector alone.';
COMMENT ON SCHEMA world IS 'What readers see: views on the live generation of every projection.';

-- Every event of the log, as it was recorded. Rows are only ever added, in the transaction that applies the event to the projections.
CREATE TABLE worldbus.events (
    position    bigint      PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    time        timestamptz,
    partition   integer     NOT NULL,
    depth       integer,
    world       text        NOT NULL,
    subsystem   text        NOT NULL,
    entity      text        NOT NULL,
    name        text        NOT NULL,
    type        text,
    event_id    text,
    cause       text,
    correlation text,
    odd_subject bytea,
    raw         bytea       NOT NULL,
    chain       bytea       NOT NULL
);
COMMENT ON TABLE worldbus.events IS 'The archive: an independent copy of the log. Columns from type to correlation are null where the envelope cannot be read.';
COMMENT ON COLUMN worldbus.events.position IS 'Stream sequence, contiguous from 1.';
COMMENT ON COLUMN worldbus.events.time IS 'When it happened, by its publisher (to the microsecond; raw has nanoseconds).';
COMMENT ON COLUMN worldbus.events.recorded_at IS 'When the log took it.';
COMMENT ON COLUMN worldbus.events.odd_subject IS
    'The stored subject where text cannot hold it (a NUL byte; the columns show U+FFFD there), else null.';
COMMENT ON COLUMN worldbus.events.chain IS
    'sha256(chain of position - 1 || position as 8 bytes || byte length of the stored subject as 4 bytes || stored subject || raw); 32 zero bytes before position 1. Numbers are big-endian.';

-- Three ways in, chosen by what they cost per event (docs/explanation/projections.md): by id (`why`), by entity, by moment.
CREATE INDEX events_by_id ON worldbus.events (event_id);
CREATE INDEX events_by_entity ON worldbus.events (entity, world, position);
CREATE INDEX events_by_recorded_at ON worldbus.events USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

-- How far the archive and every projection in step have come. One row; its lock is what keeps two projectors apart.
CREATE TABLE worldbus.checkpoint (
    one      boolean     PRIMARY KEY DEFAULT true CHECK (one),
    position bigint      NOT NULL CHECK (position >= 0),
    chain    bytea       NOT NULL,
    epoch    bigint      NOT NULL DEFAULT 0,
    moved_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
COMMENT ON COLUMN worldbus.checkpoint.epoch IS 'Moves with every change of worldbus.generations, so that a running projector notices.';
INSERT INTO worldbus.checkpoint (position, chain) VALUES (0, decode(repeat('00', 32), 'hex'));

-- A projection lives in generations, each with a schema of its own.
CREATE TABLE worldbus.generations (
    projection  text        NOT NULL,
    generation  integer     NOT NULL,
    version     integer     NOT NULL,
    schema_name text        NOT NULL UNIQUE,
    stopped_at  bigint,
    live        boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    switched_at timestamptz,
    PRIMARY KEY (projection, generation)
);
COMMENT ON COLUMN worldbus.generations.stopped_at IS 'The last position applied; null while it moves in step with the checkpoint.';
COMMENT ON COLUMN worldbus.generations.live IS 'The readers'' views show this generation.';
CREATE UNIQUE INDEX one_live_generation ON worldbus.generations (projection) WHERE live;

-- What a projection could not take in. The event itself is in the archive.
CREATE TABLE worldbus.skipped (
    position   bigint NOT NULL,
    projection text   NOT NULL,
    code       text   NOT NULL,
    reason     text   NOT NULL,
    PRIMARY KEY (position, projection)
);
COMMENT ON COLUMN worldbus.skipped.projection IS 'Its name, or * when the envelope itself cannot be read.';

CREATE VIEW world.events AS
SELECT position, event_id, 'evt.' || world || '.' || subsystem || '.' || entity || '.' || name AS subject, partition,
       world, subsystem, entity, name, type, time, recorded_at, cause, correlation, depth, raw, chain
  FROM worldbus.events;
COMMENT ON VIEW world.events IS 'The archive: every event of the log, by position.';

CREATE VIEW world.checkpoint AS SELECT position, moved_at FROM worldbus.checkpoint;
COMMENT ON VIEW world.checkpoint IS 'Everything up to this position is in the views.';

CREATE VIEW world.projections AS
SELECT g.projection, g.version, g.generation, coalesce(g.stopped_at, c.position) AS position, g.stopped_at IS NULL AS in_step, g.live, g.switched_at
  FROM worldbus.generations g CROSS JOIN worldbus.checkpoint c;
COMMENT ON VIEW world.projections IS 'Every projection: its generations, how far each is, and which one the views show.';

CREATE VIEW world.skipped AS SELECT position, projection, code, reason FROM worldbus.skipped;
COMMENT ON VIEW world.skipped IS 'Events that a projection could not take in, with the reason.';

-- migrate:down
DROP SCHEMA world CASCADE;
DROP SCHEMA worldbus CASCADE;
