-- What every player carries; a kind that is used up stays with 0.
CREATE TABLE items (
    world    text,
    player   text,
    sku      text,
    quantity bigint,
    came     bigint NOT NULL DEFAULT 0,
    went     bigint NOT NULL DEFAULT 0,
    position bigint,
    PRIMARY KEY (world, player, sku)
);

-- Everything that came (above 0) or went (below 0).
CREATE TABLE item_moves (
    world     text,
    position  bigint,
    player    text,
    sku       text,
    quantity  bigint,
    reason    text,
    reference text,
    moved_at  timestamptz,
    PRIMARY KEY (world, position)
);
CREATE INDEX item_moves_player ON item_moves (world, player, position);

CREATE VIEW inventories AS
SELECT world, player, sku, quantity FROM items WHERE quantity > 0;
COMMENT ON VIEW inventories IS 'What every player carries now.';
