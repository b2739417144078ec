-- The version of each entity's state.
CREATE TABLE state_versions (
    world      text,
    entity     text,
    version    bigint,
    changed_at timestamptz,
    position   bigint,
    PRIMARY KEY (world, entity)
);

-- Its values, one row per key.
CREATE TABLE state_values (
    world    text,
    entity   text,
    key      text,
    value    jsonb,
    version  bigint,
    position bigint,
    PRIMARY KEY (world, entity, key)
);
COMMENT ON COLUMN state_values.version IS 'The version that set the value.';

-- Slots to come back to.
CREATE TABLE saves (
    world    text,
    entity   text,
    slot     text,
    version  bigint,
    "values" jsonb,
    saved_at timestamptz,
    position bigint,
    PRIMARY KEY (world, entity, slot)
);

CREATE VIEW entity_state AS
SELECT world, entity, v.version, coalesce(s."values", '{}') AS "values", v.changed_at, v.position
  FROM state_versions v
  LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(key, value) AS "values" FROM state_values k WHERE k.world = v.world AND k.entity = v.entity
       ) AS s ON true;
COMMENT ON VIEW entity_state IS 'The whole state of each entity as one JSON object.';
