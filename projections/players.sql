-- Every player that was ever seen.
CREATE TABLE players (
    world          text,
    player         text,
    online         boolean NOT NULL DEFAULT false,
    session        bigint,
    display_name   text,
    platform       text,
    game_server    text,
    zone           text,
    x              double precision,
    y              double precision,
    z              double precision,
    first_seen     timestamptz,
    last_seen      timestamptz,
    sessions       bigint NOT NULL DEFAULT 0,
    zones_entered  bigint NOT NULL DEFAULT 0,
    played_ms      bigint NOT NULL DEFAULT 0,
    position       bigint,
    PRIMARY KEY (world, player)
);
COMMENT ON COLUMN players.zone IS 'Where the player is, or was when last online.';
COMMENT ON COLUMN players.played_ms IS 'In sessions that have ended.';

-- Every session there was; the ones that have not ended have no ended_at.
CREATE TABLE sessions (
    world         text,
    player        text,
    session       bigint,
    started_at    timestamptz,
    ended_at      timestamptz,
    cause         text,
    reason        text,
    platform      text,
    game_server   text,
    duration_ms   bigint,
    zones_entered bigint,
    last_zone     text,
    position      bigint,
    PRIMARY KEY (world, player, session)
);

CREATE VIEW online AS
SELECT world, zone, count(*) AS players FROM players WHERE online GROUP BY world, zone;
COMMENT ON VIEW online IS 'How many players each zone holds now.';
