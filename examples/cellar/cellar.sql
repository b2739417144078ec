-- Every chest that somebody opened.
CREATE TABLE chests (
    world text,
    chest text,
    finder text,
    came_too_late bigint NOT NULL DEFAULT 0,
    position bigint,
    PRIMARY KEY (world, chest)
);
COMMENT ON COLUMN chests.finder IS 'The player who has what was in it.';
COMMENT ON COLUMN chests.came_too_late IS 'Times that somebody found it empty.';
