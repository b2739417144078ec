-- Every run of every holder, a player or a party.
CREATE TABLE quests (
    world         text,
    holder        text,
    run           bigint,
    quest         text,
    title         text,
    giver         text,
    status        text NOT NULL DEFAULT 'active',
    stage         text,
    stage_text    text,
    step          integer,
    ending        text,
    cause         text,
    members       text[] NOT NULL DEFAULT '{}',
    accepted_at   timestamptz,
    ended_at      timestamptz,
    limit_minutes integer,
    position      bigint,
    PRIMARY KEY (world, holder, run)
);
CREATE INDEX ON quests (world, quest, status);
COMMENT ON COLUMN quests.status IS 'active, choosing, completed, failed or abandoned.';
COMMENT ON COLUMN quests.members IS 'Who shares it; empty for a quest of one player.';

-- The objectives of each run, of all the stages it came through.
CREATE TABLE quest_objectives (
    world     text,
    holder    text,
    run       bigint,
    step      integer,
    objective text,
    quest     text,
    kind      text,
    target    text,
    place     text,
    count     integer NOT NULL DEFAULT 0,
    needed    integer,
    minutes   integer,
    position  bigint,
    PRIMARY KEY (world, holder, run, step, objective)
);

-- Which way each run went.
CREATE TABLE quest_choices (
    world     text,
    holder    text,
    run       bigint,
    choice    text,
    quest     text,
    player    text,
    chosen_at timestamptz,
    position  bigint,
    PRIMARY KEY (world, holder, run, choice)
);

-- What quests paid to whom: one row per player and run. `party` is empty for the player's own quests.
CREATE TABLE quest_rewards (
    world        text,
    player       text,
    party        text,
    run          bigint,
    quest        text,
    ending       text,
    currency     text,
    amount_minor bigint,
    items        jsonb,
    rewarded_at  timestamptz,
    event_id     text,
    position     bigint,
    PRIMARY KEY (world, player, party, run)
);
CREATE INDEX ON quest_rewards (world, quest);

-- Work that was made up for somebody.
CREATE TABLE quest_offers (
    world         text,
    player        text,
    quest         text,
    pattern       text,
    title         text,
    giver         text,
    currency      text,
    amount_minor  bigint,
    limit_minutes integer,
    offered_at    timestamptz,
    position      bigint,
    PRIMARY KEY (world, player, quest)
);

-- Who is in which party, as quests know it.
CREATE TABLE quest_parties (
    world    text,
    party    text,
    member   text,
    position bigint,
    PRIMARY KEY (world, party, member)
);

CREATE VIEW quest_journal AS
SELECT q.world, q.holder, q.quest, q.run, q.title, q.status, q.stage, q.stage_text, o.objective, o.kind, o.target, o.place, o.count, o.needed,
       o.count >= o.needed AS met
FROM quests q
LEFT JOIN quest_objectives o ON (o.world, o.holder, o.run, o.step) = (q.world, q.holder, q.run, q.step)
WHERE q.status IN ('active', 'choosing');
COMMENT ON VIEW quest_journal IS 'What every holder has to do now: one row per objective of the stage, or one without if only a choice is open.';

CREATE VIEW quest_figures AS
SELECT world, quest, count(*) AS runs,
       count(*) FILTER (WHERE status IN ('active', 'choosing')) AS active,
       count(*) FILTER (WHERE status = 'completed') AS completed,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'abandoned') AS abandoned
FROM quests GROUP BY world, quest;
COMMENT ON VIEW quest_figures IS 'How each quest fares: for the designer.';
