-- Every arc that has begun.
CREATE TABLE story_arcs (
    world    text,
    arc      text,
    title    text,
    premise  text,
    phase    text NOT NULL DEFAULT 'resting',
    tension  integer NOT NULL DEFAULT 0,
    beat     text,
    beats    integer NOT NULL DEFAULT 0,
    began_at timestamptz,
    ended_at timestamptz,
    position bigint,
    PRIMARY KEY (world, arc)
);
COMMENT ON COLUMN story_arcs.phase IS 'resting, telling, choosing or over.';
COMMENT ON COLUMN story_arcs.tension IS 'Thousandths.';

-- Every beat that began, why it was this one, how it was told and where it led.
CREATE TABLE story_beats (
    world       text,
    arc         text,
    number      integer,
    beat        text,
    title       text,
    wanted      integer,
    aimed       integer,
    tension     integer,
    considered  jsonb,
    text        text,
    rung        text,
    request_id  text,
    choices     text[],
    choice      text,
    chosen_by   text,
    began_at    timestamptz,
    narrated_at timestamptz,
    position    bigint,
    PRIMARY KEY (world, arc, number)
);
COMMENT ON COLUMN story_beats.chosen_by IS 'The player; empty if time chose, null if nobody has yet.';

-- What is true, for good.
CREATE TABLE story_facts (
    world          text,
    arc            text,
    fact           text,
    value          text,
    number         integer,
    source         text,
    established_at timestamptz,
    position       bigint,
    PRIMARY KEY (world, arc, fact)
);

-- What somebody claimed and is not true.
CREATE TABLE story_refusals (
    world      text,
    arc        text,
    position   bigint,
    fact       text,
    value      text,
    known      text,
    number     integer,
    refused_at timestamptz,
    PRIMARY KEY (world, arc, position)
);

-- What followed, for whoever wanted to hear it.
CREATE TABLE story_consequences (
    world       text,
    arc         text,
    position    bigint,
    number      integer,
    kind        text,
    target      text,
    amount      integer,
    text        text,
    happened_at timestamptz,
    PRIMARY KEY (world, arc, position)
);

-- How tension moved.
CREATE TABLE story_tension (
    world      text,
    arc        text,
    position   bigint,
    previous   integer,
    tension    integer,
    cause      text,
    detail     text,
    player     text,
    changed_at timestamptz,
    PRIMARY KEY (world, arc, position)
);

CREATE VIEW story_so_far AS
SELECT world, arc, number, title, text, choice FROM story_beats WHERE text IS NOT NULL;
COMMENT ON VIEW story_so_far IS 'The story as it was told; ORDER BY arc, number.';
