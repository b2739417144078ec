-- Every scene that was looked at or changed.
CREATE TABLE scenes (
    world        text,
    scene        text,
    place        text,
    title        text,
    first_player text,
    first_at     timestamptz,
    discoveries  bigint NOT NULL DEFAULT 0,
    position     bigint,
    PRIMARY KEY (world, scene)
);

-- How each object is now, as far as anybody has seen or said.
CREATE TABLE scene_objects (
    world      text,
    scene      text,
    object     text,
    place      text,
    condition  text,
    text       text,
    looks      bigint NOT NULL DEFAULT 0,
    changed_at timestamptz,
    position   bigint,
    PRIMARY KEY (world, scene, object)
);
COMMENT ON COLUMN scene_objects.looks IS 'How often it was examined.';
COMMENT ON COLUMN scene_objects.changed_at IS 'Null while it is as it began.';

-- Every change there was.
CREATE TABLE scene_changes (
    world      text,
    scene      text,
    number     bigint,
    place      text,
    object     text,
    previous   text,
    condition  text,
    cause      text,
    detail     text,
    player     text,
    text       text,
    changed_at timestamptz,
    position   bigint,
    PRIMARY KEY (world, scene, number)
);
CREATE INDEX ON scene_changes (world, place, position);

-- Who has discovered what; one row per player and scene.
CREATE TABLE discoveries (
    world         text,
    player        text,
    scene         text,
    place         text,
    title         text,
    found         integer,
    currency      text,
    amount_minor  bigint,
    items         jsonb,
    discovered_at timestamptz,
    position      bigint,
    PRIMARY KEY (world, player, scene)
);

-- What players found of scenes, discovered or not.
CREATE TABLE scene_traces (
    world    text,
    player   text,
    scene    text,
    object   text,
    weight   integer,
    needed   integer,
    found_at timestamptz,
    position bigint,
    PRIMARY KEY (world, player, scene, object)
);

CREATE VIEW place_history AS
SELECT world, place, position, changed_at, scene, object, previous, condition, cause, detail, player, text FROM scene_changes;
COMMENT ON VIEW place_history IS 'What happened to a place; ORDER BY position.';

CREATE VIEW investigations AS
SELECT t.world, t.player, t.scene, sum(t.weight) AS found, max(t.needed) AS needed
FROM scene_traces t
WHERE NOT EXISTS (SELECT FROM discoveries d WHERE (d.world, d.player, d.scene) = (t.world, t.player, t.scene))
GROUP BY t.world, t.player, t.scene;
COMMENT ON VIEW investigations IS 'Scenes that players have begun to understand and not discovered yet.';
