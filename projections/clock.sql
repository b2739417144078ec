-- Each clock as of its last step. What it shows now is the view `clock`.
CREATE TABLE clock_steps (
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
    owed_thousandths     bigint NOT NULL DEFAULT 0,
    rests_ms             bigint NOT NULL DEFAULT 0,
    asleep               boolean NOT NULL DEFAULT false,
    next_real_ms         bigint,
    stepped_at           timestamptz,
    position             bigint,
    PRIMARY KEY (world, clock)
);
COMMENT ON TABLE clock_steps IS 'Each clock as of its last step; what it shows now is the view clock.';
COMMENT ON COLUMN clock_steps.owed_thousandths IS 'Thousandths of a world millisecond that world_ms lacks.';
COMMENT ON COLUMN clock_steps.rests_ms IS 'For how many real milliseconds world time goes on from here without another step; 0: it stands.';
COMMENT ON COLUMN clock_steps.next_real_ms IS 'When something is due next, by the count of real_ms; null if nothing is, or the clock does not rest.';
COMMENT ON COLUMN clock_steps.stepped_at IS 'When the log took the step.';

-- What time it is in each world. A world has one clock unless the game starts more of them. Between two steps the moment follows from the last
-- one, the scale and the time of day of this database; `worldbus sql --as-of` shows it as of that time. It agrees with
-- handlers/time_manager/calendar.py: tests/integration/projections/test_present.py holds the two against each other.
CREATE VIEW clock AS
SELECT s.world,
       s.clock,
       s.running,
       s.paused_reason,
       s.scale,
       now.world_ms,
       coalesce((at.days / year.days + 1)::integer, s.year) AS year,
       coalesce(season.name, s.season) AS season,
       coalesce(season.next, s.next_season) AS next_season,
       coalesce(now.world_ms - at.in_day_ms + (season.starts + season.days - at.days % year.days) * day.ms, s.season_ends_world_ms)
           AS season_ends_world_ms,
       coalesce(at.days + 1, s.day) AS day,
       coalesce((at.days % year.days - season.starts + 1)::integer, s.day_of_season) AS day_of_season,
       coalesce((at.in_day_ms / 3600000)::integer, s.hour) AS hour,
       coalesce((at.in_day_ms / 60000 % 60)::integer, s.minute) AS minute,
       coalesce(CASE WHEN at.in_day_ms / 60000 < season.dawn THEN 'night'
                     WHEN at.in_day_ms / 60000 < season.day THEN 'dawn'
                     WHEN at.in_day_ms / 60000 < season.dusk THEN 'day'
                     WHEN at.in_day_ms / 60000 < season.night THEN 'dusk'
                     WHEN at.in_day_ms / 60000 >= season.night THEN 'night' END, s.time_of_day) AS time_of_day,
       s.real_ms + passed.ms AS real_ms,
       s.calendar,
       s.asleep,
       s.stepped_at,
       s.position
  FROM clock_steps s
 CROSS JOIN LATERAL (SELECT coalesce(nullif(current_setting('worldbus.as_of', true), '')::timestamptz, now()) AS moment) present
 CROSS JOIN LATERAL (SELECT CASE WHEN s.running AND s.rests_ms > 0 AND s.stepped_at IS NOT NULL
     THEN least(greatest(floor(extract(epoch FROM present.moment - s.stepped_at) * 1000), 0), s.rests_ms)::bigint ELSE 0 END AS ms) passed
 CROSS JOIN LATERAL (SELECT CASE WHEN passed.ms > 0
     THEN s.world_ms + (s.owed_thousandths + passed.ms * s.scale) / 1000 ELSE s.world_ms END AS world_ms) now
 CROSS JOIN LATERAL (SELECT (s.calendar ->> 'hours_per_day')::bigint * 3600000 AS ms) day
 CROSS JOIN LATERAL (SELECT now.world_ms + coalesce((s.calendar ->> 'offset_ms')::bigint, 0) AS ms) since
 CROSS JOIN LATERAL (SELECT since.ms / day.ms AS days, since.ms % day.ms AS in_day_ms) at
 CROSS JOIN LATERAL (SELECT sum((rule ->> 'days')::bigint)::bigint AS days FROM jsonb_array_elements(s.calendar -> 'seasons') rule) year
  LEFT JOIN LATERAL (
      SELECT *
        FROM (SELECT rule ->> 'name' AS name,
                     coalesce(lead(rule ->> 'name') OVER rising, first_value(rule ->> 'name') OVER rising) AS next,
                     (rule ->> 'days')::bigint AS days,
                     (sum((rule ->> 'days')::bigint) OVER rising)::bigint - (rule ->> 'days')::bigint AS starts,
                     coalesce((rule ->> 'dawn_minute')::bigint, 0) AS dawn,
                     (rule ->> 'day_minute')::bigint AS day,
                     (rule ->> 'dusk_minute')::bigint AS dusk,
                     (rule ->> 'night_minute')::bigint AS night
                FROM jsonb_array_elements(s.calendar -> 'seasons') WITH ORDINALITY AS rules(rule, number)
              WINDOW rising AS (ORDER BY number)) each
       WHERE at.days % year.days >= each.starts AND at.days % year.days < each.starts + each.days) season ON true;
COMMENT ON VIEW clock IS 'What time it is in each world now: the last step, and what has passed since.';
COMMENT ON COLUMN clock.scale IS 'World milliseconds per real second.';
COMMENT ON COLUMN clock.world_ms IS 'World milliseconds since the clock started.';
COMMENT ON COLUMN clock.real_ms IS 'Real milliseconds since the clock started, as far as the world felt them.';
COMMENT ON COLUMN clock.asleep IS 'Nobody is about: the world''s own life waits.';
COMMENT ON COLUMN clock.stepped_at IS 'When the log took the last step.';

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
