-- Every version that a feed told of.
CREATE TABLE engine_releases (
    world        text,
    line         text,
    version      text,
    channel      text,
    announced    boolean NOT NULL DEFAULT false,
    newest       boolean NOT NULL DEFAULT false,
    title        text,
    link         text,
    published_at timestamptz,
    told_at      timestamptz,
    position     bigint,
    PRIMARY KEY (world, line, version)
);
COMMENT ON COLUMN engine_releases.announced IS 'Whether it was news; false for the past of a feed.';
COMMENT ON COLUMN engine_releases.newest IS 'Whether it was above all others of its channel when it was announced.';

-- Each line's feed.
CREATE TABLE release_feeds (
    world          text,
    line           text,
    readable       boolean NOT NULL DEFAULT true,
    code           text,
    reason         text,
    since          timestamptz,
    newest_release text,
    newest_preview text,
    announced      bigint NOT NULL DEFAULT 0,
    refused        bigint NOT NULL DEFAULT 0,
    last_refused   text[],
    outages        bigint NOT NULL DEFAULT 0,
    position       bigint,
    PRIMARY KEY (world, line)
);
COMMENT ON COLUMN release_feeds.since IS 'Since when it is readable or not, if there was ever an outage.';
