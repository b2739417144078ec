-- Every request for inference that a worker took or ended.
CREATE TABLE inference_requests (
    world             text,
    request_id        text,
    outcome           text,
    kind              text,
    player            text,
    npc               text,
    requester         text,
    tier              text,
    pool              text,
    rung              text,
    attempt           integer,
    code              text,
    reason            text,
    text              text,
    model             text,
    engine            text,
    worker            text,
    prompt_hash       text,
    prompt_tokens     bigint,
    cached_tokens     bigint,
    completion_tokens bigint,
    queue_us          bigint,
    first_token_us    bigint,
    first_chunk_us    bigint,
    per_token_us      bigint,
    total_us          bigint,
    cost_nano_usd     bigint,
    knowledge         text,
    retrieval_us      bigint,
    started_at        timestamptz,
    ended_at          timestamptz,
    position          bigint,
    PRIMARY KEY (world, request_id)
);
COMMENT ON COLUMN inference_requests.outcome IS 'completed, degraded, expired, cancelled or rejected; null while under way.';
COMMENT ON COLUMN inference_requests.knowledge IS 'given, nothing, late, failed or too_long; empty if nothing was to be looked up.';
COMMENT ON COLUMN inference_requests.cost_nano_usd IS 'Billionths of a US dollar.';

-- What models were shown of the knowledge base, in the order of their prompts. The words themselves are in passages.
CREATE TABLE inference_citations (
    world        text,
    request_id   text,
    number       integer,
    passage_id   text,
    kind         text,
    document     text,
    heading      text[],
    line_from    integer,
    line_to      integer,
    content_hash text,
    score        double precision,
    as_of        bigint,
    position     bigint,
    PRIMARY KEY (world, request_id, number)
);
COMMENT ON COLUMN inference_citations.document IS 'The document; of a memory, whose it is.';
COMMENT ON COLUMN inference_citations.as_of IS 'Position from which on the passage counted.';

-- What was used by day of real time (UTC), tier, model and player; an empty player is the world itself, an empty model none.
CREATE TABLE inference_usage (
    world             text,
    day               text,
    tier              text,
    model             text,
    player            text,
    requests          bigint NOT NULL DEFAULT 0,
    completed         bigint NOT NULL DEFAULT 0,
    degraded          bigint NOT NULL DEFAULT 0,
    expired           bigint NOT NULL DEFAULT 0,
    cancelled         bigint NOT NULL DEFAULT 0,
    rejected          bigint NOT NULL DEFAULT 0,
    prompt_tokens     bigint NOT NULL DEFAULT 0,
    cached_tokens     bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    cost_nano_usd     bigint NOT NULL DEFAULT 0,
    position          bigint,
    PRIMARY KEY (world, day, tier, model, player)
);

CREATE VIEW inference_cost_by_player AS
SELECT world, day, player,
       sum(requests)::bigint AS requests,
       sum(prompt_tokens)::bigint AS prompt_tokens,
       sum(completion_tokens)::bigint AS completion_tokens,
       round(sum(cost_nano_usd) / 1e9, 9) AS cost_usd
FROM inference_usage GROUP BY world, day, player;
COMMENT ON VIEW inference_cost_by_player IS 'What each player used and cost per day of real time (UTC).';

CREATE VIEW inference_cost_by_tier AS
SELECT world, day, tier, model,
       sum(requests)::bigint AS requests,
       sum(degraded)::bigint AS degraded,
       sum(expired)::bigint AS expired,
       sum(prompt_tokens)::bigint AS prompt_tokens,
       sum(completion_tokens)::bigint AS completion_tokens,
       round(sum(cost_nano_usd) / 1e9, 9) AS cost_usd
FROM inference_usage GROUP BY world, day, tier, model;
COMMENT ON VIEW inference_cost_by_tier IS 'What each tier and model used and cost per day of real time (UTC).';
