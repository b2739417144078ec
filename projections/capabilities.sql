-- Every service that was ever listed.
CREATE TABLE services (
    world         text,
    service       text,
    listed        boolean NOT NULL DEFAULT false,
    endpoint      text,
    ttl_ms        bigint,
    lease         bigint,
    gone_because  text,
    registrations bigint NOT NULL DEFAULT 0,
    expiries      bigint NOT NULL DEFAULT 0,
    first_seen    timestamptz,
    last_seen     timestamptz,
    position      bigint,
    PRIMARY KEY (world, service)
);
COMMENT ON COLUMN services.gone_because IS 'expired or unregistered; null while listed.';
COMMENT ON COLUMN services.last_seen IS 'First sign of life since its lease was last checked, not every heartbeat.';

-- What listed services offer.
CREATE TABLE service_offers (
    world      text,
    service    text,
    capability text,
    version    text,
    platforms  text[],
    labels     jsonb,
    position   bigint,
    PRIMARY KEY (world, service, capability)
);
COMMENT ON COLUMN service_offers.platforms IS 'Empty: all.';

-- The engine version each line of the game runs on.
CREATE TABLE engines (
    world      text,
    line       text,
    version    text,
    platform   text,
    waits_for  text[],
    adopted_at timestamptz,
    position   bigint,
    PRIMARY KEY (world, line)
);
COMMENT ON COLUMN engines.waits_for IS 'Features the team waits for; empty: all.';

-- Versions the registry heard of beyond its table.
CREATE TABLE engine_versions (
    world     text,
    line      text,
    version   text,
    channel   text,
    listed_at timestamptz,
    position  bigint,
    PRIMARY KEY (world, line, version)
);

-- What moving to a newer version would bring.
CREATE TABLE engine_upgrades (
    world        text,
    line         text,
    from_version text,
    version      text,
    platform     text,
    enables      text[],
    removes      text[],
    suggested_at timestamptz,
    position     bigint,
    PRIMARY KEY (world, line, from_version, version)
);

CREATE VIEW capabilities AS
SELECT world, capability, count(*) AS services, array_agg(service ORDER BY service) AS offered_by
FROM service_offers GROUP BY world, capability;
COMMENT ON VIEW capabilities IS 'What the world can do now, and who does it.';
