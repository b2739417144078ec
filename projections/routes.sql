-- Which services may take calls of a capability, and how their circuits stand.
CREATE TABLE routes (
    world      text,
    capability text,
    service    text,
    listed     boolean NOT NULL DEFAULT false,
    endpoint   text,
    version    text,
    weight     integer,
    circuit    text,
    in_a_row   integer NOT NULL DEFAULT 0,
    error      text,
    since      timestamptz,
    chosen     bigint NOT NULL DEFAULT 0,
    failures   bigint NOT NULL DEFAULT 0,
    opened     bigint NOT NULL DEFAULT 0,
    position   bigint,
    PRIMARY KEY (world, capability, service)
);
COMMENT ON COLUMN routes.circuit IS 'closed, half_open or open.';
COMMENT ON COLUMN routes.in_a_row IS 'Failures in a row.';

-- Calls that nobody could take.
CREATE TABLE route_refusals (
    world      text,
    capability text,
    code       text,
    refused    bigint NOT NULL DEFAULT 0,
    reason     text,
    at         timestamptz,
    position   bigint,
    PRIMARY KEY (world, capability, code)
);

-- Which tier took the requests for inference, and why.
CREATE TABLE inference_routing (
    world       text,
    asked       text,
    tier        text,
    code        text,
    requests    bigint NOT NULL DEFAULT 0,
    last_reason text,
    position    bigint,
    PRIMARY KEY (world, asked, tier, code)
);

-- The workers of the tiers, as they last told.
CREATE TABLE inference_workers (
    world    text,
    tier     text,
    worker   text,
    pool     text,
    ready    boolean NOT NULL DEFAULT false,
    free     boolean NOT NULL DEFAULT false,
    since    timestamptz,
    position bigint,
    PRIMARY KEY (world, tier, worker)
);

CREATE VIEW open_circuits AS
SELECT world, capability, service, circuit, in_a_row, error, since FROM routes WHERE listed AND circuit <> 'closed';
COMMENT ON VIEW open_circuits IS 'Services that get no calls now, or one to try.';
