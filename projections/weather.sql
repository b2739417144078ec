-- The weather of each zone now. Sky and the columns after it are null until the clock has stepped once.
CREATE TABLE weather (
    world                   text,
    zone                    text,
    climate                 text,
    seed                    numeric,
    sky                     text,
    level                   integer,
    intensity               double precision,
    temperature_c           double precision,
    wind_mps                double precision,
    season                  text,
    since_world_ms          bigint,
    expected_until_world_ms bigint,
    cause                   text,
    override_number         bigint,
    override_reason         text,
    changed_at              timestamptz,
    position                bigint,
    PRIMARY KEY (world, zone)
);
COMMENT ON COLUMN weather.override_number IS 'The override that reigns, or null.';

-- The newest forecast of each zone.
CREATE TABLE forecasts (
    world       text,
    zone        text,
    step        integer,
    at_world_ms bigint,
    sky         text,
    confidence  double precision,
    intensity   double precision,
    request_id  text,
    position    bigint,
    PRIMARY KEY (world, zone, step)
);
COMMENT ON COLUMN forecasts.step IS '1 is the nearest.';

-- Every change of weather there was.
CREATE TABLE weather_history (
    world          text,
    zone           text,
    position       bigint,
    sky            text,
    level          integer,
    intensity      double precision,
    temperature_c  double precision,
    season         text,
    since_world_ms bigint,
    cause          text,
    changed_at     timestamptz,
    PRIMARY KEY (world, zone, position)
);
