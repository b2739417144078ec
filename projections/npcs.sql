-- Every character as it is now. What it weighs is in npc_deeds, whom it knows in relationships.
CREATE TABLE npcs (
    world       text,
    npc         text,
    name        text,
    place       text,
    action      text,
    since_world_ms bigint,
    needs       jsonb,
    mood        integer,
    mood_cause  text,
    time_of_day text,
    season      text,
    lines       bigint NOT NULL DEFAULT 0,
    deeds       bigint NOT NULL DEFAULT 0,
    silences    bigint NOT NULL DEFAULT 0,
    rejected    bigint NOT NULL DEFAULT 0,
    position    bigint,
    PRIMARY KEY (world, npc)
);
COMMENT ON COLUMN npcs.needs IS 'Thousandths by need, when its deed began or something changed them; they grow on from there.';
COMMENT ON COLUMN npcs.mood IS 'Thousandths, -1000 to 1000, when it last changed; it fades from there.';
COMMENT ON COLUMN npcs.rejected IS 'Answers of models that wanted what it may not do.';

-- What characters feel for players, as it was at world_ms; feelings fade from there, debts do not.
CREATE TABLE relationships (
    world      text,
    npc        text,
    player     text,
    trust      integer NOT NULL DEFAULT 0,
    fear       integer NOT NULL DEFAULT 0,
    affection  integer NOT NULL DEFAULT 0,
    debt_minor bigint NOT NULL DEFAULT 0,
    cause      text,
    world_ms   bigint,
    lines      bigint NOT NULL DEFAULT 0,
    changes    bigint NOT NULL DEFAULT 0,
    changed_at timestamptz,
    position   bigint,
    PRIMARY KEY (world, npc, player)
);
COMMENT ON COLUMN relationships.debt_minor IS 'What the character feels it owes; negative if the player owes it.';

-- What characters remember now; forgotten rows go. Memories of no player have an empty player.
CREATE TABLE npc_memories (
    world          text,
    npc            text,
    player         text,
    number         bigint,
    kind           text,
    memory         text,
    salience       integer,
    world_ms       bigint,
    about_position bigint,
    position       bigint,
    PRIMARY KEY (world, npc, player, number)
);
COMMENT ON COLUMN npc_memories.about_position IS 'The event that is remembered, see events.';

-- Everything that characters said.
CREATE TABLE npc_lines (
    world       text,
    npc         text,
    position    bigint,
    player      text,
    heard       text,
    text        text,
    language    text,
    emotion     text,
    place       text,
    rung        text,
    interrupted boolean,
    request_id  text,
    spoken_at   timestamptz,
    PRIMARY KEY (world, npc, position)
);

-- Everything that characters did, with all that was weighed.
CREATE TABLE npc_deeds (
    world          text,
    npc            text,
    position       bigint,
    action         text,
    target         text,
    place          text,
    previous_place text,
    cause          text,
    considered     jsonb,
    needs          jsonb,
    world_ms       bigint,
    request_id     text,
    PRIMARY KEY (world, npc, position)
);

-- What models wanted characters to do that they may not, and what characters kept silent about.
CREATE TABLE npc_refusals (
    world      text,
    npc        text,
    position   bigint,
    player     text,
    kind       text,
    action     text,
    code       text,
    reason     text,
    request_id text,
    refused_at timestamptz,
    PRIMARY KEY (world, npc, position)
);
COMMENT ON COLUMN npc_refusals.kind IS 'deed (a model went too far) or silence (the character did not answer).';

-- What characters want, once something moved it.
CREATE TABLE npc_goals (
    world    text,
    npc      text,
    goal     text,
    urgency  integer,
    reached  boolean,
    cause    text,
    world_ms bigint,
    position bigint,
    PRIMARY KEY (world, npc, goal)
);

CREATE VIEW npc_reasons AS
SELECT d.world, d.npc, d.position, d.world_ms, d.action AS chosen, o ->> 'action' AS option, (o ->> 'score')::integer AS score,
       p ->> 'part' AS part, (p ->> 'points')::integer AS points
FROM npc_deeds d, jsonb_array_elements(d.considered) o, jsonb_array_elements(o -> 'parts') p;
COMMENT ON VIEW npc_reasons IS 'Why a character did this and not that: every option, its score, and the parts it is the sum of.';

CREATE VIEW npc_rungs AS
SELECT world, npc, rung, count(*) AS lines FROM npc_lines GROUP BY world, npc, rung;
COMMENT ON VIEW npc_rungs IS 'How many lines came from which rung of the ladder.';
