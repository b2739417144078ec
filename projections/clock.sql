-- What time it is in each world. A world has one clock unless the game starts more of them.
CREATE TABLE clock (
    world                text,
    clock                text,
    running              boolean,
    paused_reason        text,
    scale                bigint,
    world_ms             bigint,
    year                 integer,
    season               text,
    next_season          text,
    season_ends_world_ms bigint,
    day                  bigint,
    day_of_season        integer,
    hour                 integer,
    minute               integer,
    time_of_day          text,
    real_ms              bigint,
    calendar             jsonb,
    position             bigint,
    PRIMARY KEY (world, clock)
);
COMMENT ON COLUMN clock.scale IS 'World milliseconds per real second.';
COMMENT ON COLUMN clock.world_ms IS 'World milliseconds since the clock started.';
COMMENT ON COLUMN clock.real_ms IS 'Real milliseconds heard since the clock started.';

-- What the game asked to be announced and is still to come.
CREATE TABLE scheduled_events (
    world          text,
    clock          text,
    name           text,
    due_world_ms   bigint,
    every_world_ms bigint,
    times          integer,
    occurrences    integer NOT NULL DEFAULT 0,
    note           text,
    position       bigint,
    PRIMARY KEY (world, clock, name)
);
COMMENT ON COLUMN scheduled_events.due_world_ms IS 'The next time.';
COMMENT ON COLUMN scheduled_events.occurrences IS 'How often it has happened.';

-- Who will be woken, and when: by world time or by real time, the other one is 0.
CREATE TABLE wakes (
    world        text,
    clock        text,
    subsystem    text,
    entity       text,
    name         text,
    due_world_ms bigint,
    due_real_ms  bigint,
    position     bigint,
    PRIMARY KEY (world, clock, subsystem, entity, name)
);
