-- Models added to the catalogues since the world began; those of the first catalogue stand in the world's models.toml.
CREATE TABLE models (
    world               text,
    tier                text,
    model               text,
    retired             boolean NOT NULL DEFAULT false,
    source              text,
    engine              text,
    license             text,
    context_tokens      integer,
    prompt_nano_usd     bigint,
    completion_nano_usd bigint,
    position            bigint,
    PRIMARY KEY (world, tier, model)
);
COMMENT ON COLUMN models.prompt_nano_usd IS 'Price of a prompt token, billionths of a US dollar.';
COMMENT ON COLUMN models.completion_nano_usd IS 'Price of a generated token, billionths of a US dollar.';

-- Every rollout; counts are those of its present or last stage.
CREATE TABLE rollouts (
    world      text,
    tier       text,
    number     bigint,
    model      text,
    previous   text,
    worlds     text[],
    standing   text,
    stage      integer,
    stages     integer,
    percent    integer,
    requests   bigint NOT NULL DEFAULT 0,
    failures   bigint NOT NULL DEFAULT 0,
    late       bigint NOT NULL DEFAULT 0,
    why        text,
    code       text,
    reason     text,
    started_at timestamptz,
    staged_at  timestamptz,
    ended_at   timestamptz,
    position   bigint,
    PRIMARY KEY (world, tier, number)
);
COMMENT ON COLUMN rollouts.standing IS 'under_way, completed or rolled_back.';
COMMENT ON COLUMN rollouts.worlds IS 'Worlds that take part; empty: all.';

-- How often each model was the answer to ModelChoiceRequested.
CREATE TABLE model_choices (
    world    text,
    tier     text,
    model    text,
    chosen   bigint NOT NULL DEFAULT 0,
    position bigint,
    PRIMARY KEY (world, tier, model)
);
