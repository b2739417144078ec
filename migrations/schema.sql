
-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: world; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA world;


--
-- Name: SCHEMA world; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA world IS 'What readers see: views on the live generation of every projection.';


--
-- Name: worldbus; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA worldbus;


--
-- Name: SCHEMA worldbus; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA worldbus IS 'Written by the projector alone.';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: worldbus_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.worldbus_migrations (
    version character varying NOT NULL
);


--
-- Name: checkpoint; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.checkpoint (
    one boolean DEFAULT true NOT NULL,
    "position" bigint NOT NULL,
    chain bytea NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    moved_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT checkpoint_one_check CHECK (one),
    CONSTRAINT checkpoint_position_check CHECK (("position" >= 0))
)
WITH (fillfactor='10');


--
-- Name: COLUMN checkpoint.epoch; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.checkpoint.epoch IS 'Moves with every change of worldbus.generations, so that a running projector notices.';


--
-- Name: checkpoint; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.checkpoint AS
 SELECT "position",
    moved_at
   FROM worldbus.checkpoint;


--
-- Name: VIEW checkpoint; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.checkpoint IS 'Everything up to this position is in the views.';


--
-- Name: events; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.events (
    "position" bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    "time" timestamp with time zone,
    partition integer NOT NULL,
    depth integer,
    world text NOT NULL,
    subsystem text NOT NULL,
    entity text NOT NULL,
    name text NOT NULL,
    type text,
    event_id text,
    cause text,
    correlation text,
    odd_subject bytea,
    raw bytea NOT NULL,
    chain bytea NOT NULL
);


--
-- Name: TABLE events; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON TABLE worldbus.events IS 'The archive: an independent copy of the log. Columns from type to correlation are null where the envelope cannot be read.';


--
-- Name: COLUMN events."position"; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events."position" IS 'Stream sequence, contiguous from 1.';


--
-- Name: COLUMN events.recorded_at; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events.recorded_at IS 'When the log took it.';


--
-- Name: COLUMN events."time"; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events."time" IS 'When it happened, by its publisher (to the microsecond; raw has nanoseconds).';


--
-- Name: COLUMN events.odd_subject; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events.odd_subject IS 'The stored subject where text cannot hold it (a NUL byte; the columns show U+FFFD there), else null.';


--
-- Name: COLUMN events.chain; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events.chain IS 'sha256(chain of position - 1 || position as 8 bytes || byte length of the stored subject as 4 bytes || stored subject || raw); 32 zero bytes before position 1. Numbers are big-endian.';


--
-- Name: events; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.events AS
 SELECT "position",
    event_id,
    ((((((('evt.'::text || world) || '.'::text) || subsystem) || '.'::text) || entity) || '.'::text) || name) AS subject,
    partition,
    world,
    subsystem,
    entity,
    name,
    type,
    "time",
    recorded_at,
    cause,
    correlation,
    depth,
    raw,
    chain
   FROM worldbus.events;


--
-- Name: VIEW events; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.events IS 'The archive: every event of the log, by position.';


--
-- Name: generations; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.generations (
    projection text NOT NULL,
    generation integer NOT NULL,
    version integer NOT NULL,
    schema_name text NOT NULL,
    stopped_at bigint,
    live boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    switched_at timestamp with time zone
);


--
-- Name: COLUMN generations.stopped_at; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.generations.stopped_at IS 'The last position applied; null while it moves in step with the checkpoint.';


--
-- Name: COLUMN generations.live; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.generations.live IS 'The readers'' views show this generation.';


--
-- Name: projections; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.projections AS
 SELECT g.projection,
    g.version,
    g.generation,
    COALESCE(g.stopped_at, c."position") AS "position",
    (g.stopped_at IS NULL) AS in_step,
    g.live,
    g.switched_at
   FROM (worldbus.generations g
     CROSS JOIN worldbus.checkpoint c);


--
-- Name: VIEW projections; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.projections IS 'Every projection: its generations, how far each is, and which one the views show.';


--
-- Name: skipped; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.skipped (
    "position" bigint NOT NULL,
    projection text NOT NULL,
    code text NOT NULL,
    reason text NOT NULL
);


--
-- Name: COLUMN skipped.projection; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.skipped.projection IS 'Its name, or * when the envelope itself cannot be read.';


--
-- Name: skipped; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.skipped AS
 SELECT "position",
    projection,
    code,
    reason
   FROM worldbus.skipped;


--
-- Name: VIEW skipped; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.skipped IS 'Events that a projection could not take in, with the reason.';


--
-- Name: worldbus_migrations worldbus_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.worldbus_migrations
    ADD CONSTRAINT worldbus_migrations_pkey PRIMARY KEY (version);


--
-- Name: checkpoint checkpoint_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (one);


--
-- Name: events events_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");


--
-- Name: generations generations_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (projection, generation);


--
-- Name: generations generations_schema_name_key; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.generations
    ADD CONSTRAINT generations_schema_name_key UNIQUE (schema_name);


--
-- Name: skipped skipped_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.skipped
    ADD CONSTRAINT skipped_pkey PRIMARY KEY ("position", projection);


--
-- Name: events_by_entity; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX events_by_entity ON worldbus.events USING btree (entity, world, "position");


--
-- Name: events_by_id; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX events_by_id ON worldbus.events USING btree (event_id);


--
-- Name: events_by_recorded_at; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX events_by_recorded_at ON worldbus.events USING brin (recorded_at) WITH (pages_per_range='32', autosummarize='on');


--
-- Name: one_live_generation; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE UNIQUE INDEX one_live_generation ON worldbus.generations USING btree (projection) WHERE live;


--
-- PostgreSQL database dump complete
--



--
-- Dbmate schema migrations
--

INSERT INTO public.worldbus_migrations (version) VALUES
    ('20261122000001'),
    ('20261122000002');
