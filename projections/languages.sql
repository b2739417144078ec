-- How much of which language players understand.
CREATE TABLE comprehension (
    world       text,
    player      text,
    language    text,
    level       integer NOT NULL DEFAULT 0,
    stage       text,
    exposure    bigint NOT NULL DEFAULT 0,
    words_heard bigint NOT NULL DEFAULT 0,
    speeches    bigint NOT NULL DEFAULT 0,
    grew_at     timestamptz,
    position    bigint,
    PRIMARY KEY (world, player, language)
);
COMMENT ON COLUMN comprehension.level IS 'Thousandths, when growth was last said: at every hundredth, at every stage, and at every lesson.';
COMMENT ON COLUMN comprehension.exposure IS 'Words that came by until then, heard and studied.';
COMMENT ON COLUMN comprehension.words_heard IS 'Words heard from characters until now.';

-- What players heard in languages that not everybody knows.
CREATE TABLE speeches (
    world          text,
    player         text,
    position       bigint,
    npc            text,
    language       text,
    spoken         text,
    understood     text,
    share          integer,
    words          integer,
    about_position bigint,
    heard_at       timestamptz,
    PRIMARY KEY (world, player, position)
);
COMMENT ON COLUMN speeches.share IS 'Thousandths of the words that were understood.';

-- Sentences that were asked for; the same request id shows its latest sentence.
CREATE TABLE utterances (
    world      text,
    player     text,
    request_id text,
    language   text,
    text       text,
    gloss      text,
    understood text,
    made_at    timestamptz,
    position   bigint,
    PRIMARY KEY (world, player, request_id)
);

CREATE VIEW language_stages AS
SELECT world, language, stage, count(*) AS players FROM comprehension WHERE stage IS NOT NULL GROUP BY world, language, stage;
COMMENT ON VIEW language_stages IS 'How many players are how far with a language.';
