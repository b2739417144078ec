-- What is known: passages of lore, and memories of characters. At position P, whoever has the tokens T may know a passage if
--     added <= P AND (ended IS NULL OR ended > P) AND (since = '' OR its condition was true at P, see truths) AND audience && T
CREATE TABLE passages (
    world        text,
    id           text,
    revision     bigint,
    kind         text    NOT NULL DEFAULT 'lore',
    document     text    NOT NULL DEFAULT '',
    title        text    NOT NULL DEFAULT '',
    heading      text[]  NOT NULL DEFAULT '{}',
    number       integer NOT NULL DEFAULT 0,
    line_from    integer NOT NULL DEFAULT 0,
    line_to      integer NOT NULL DEFAULT 0,
    content_hash text    NOT NULL DEFAULT '',
    body         text    NOT NULL DEFAULT '',
    tags         text[]  NOT NULL DEFAULT '{}',
    audience     text[]  NOT NULL DEFAULT '{}',
    owner        text    NOT NULL DEFAULT '',
    player       text    NOT NULL DEFAULT '',
    salience     integer NOT NULL DEFAULT 0,
    formed_ms    bigint  NOT NULL DEFAULT 0,
    since        text    NOT NULL DEFAULT '',
    added        bigint,
    ended        bigint,
    position     bigint,
    words        tsvector GENERATED ALWAYS AS (worldbus.kb_stems(title, heading, body)) STORED,
    weights      public.sparsevec GENERATED ALWAYS AS (worldbus.kb_weights(title, heading, body)) STORED,
    PRIMARY KEY (world, id, revision)
) WITH (toast_tuple_target = 8160); -- words stay in their row as long as it fits a page: ranking reads those of many rows
COMMENT ON COLUMN passages.revision IS 'Revision of the document that added it: what is taken out and put back later is another row with the same id. 0 for a memory.';
COMMENT ON COLUMN passages.kind IS 'lore or memory.';
COMMENT ON COLUMN passages.line_from IS 'First line in the file as it is now, or was when the passage was last in it.';
COMMENT ON COLUMN passages.content_hash IS 'Of headings and text: the key of its vector.';
COMMENT ON COLUMN passages.audience IS 'Who may know it: one of these tokens is enough.';
COMMENT ON COLUMN passages.since IS 'Condition from when on it may be known (see truths); empty for always.';
COMMENT ON COLUMN passages.added IS 'Position from which on it counts; null while its document is still being recorded.';
COMMENT ON COLUMN passages.ended IS 'Position from which on it does not count any more.';
COMMENT ON COLUMN passages.words IS 'Stems of title, headings and body: by these the index finds it.';
COMMENT ON COLUMN passages.weights IS 'What each of its words weighs: by these it is ranked (BM25).';
CREATE INDEX ON passages (world, document);
CREATE INDEX ON passages (position); -- what came since the embedder looked last
CREATE INDEX ON passages (world, owner, position) WHERE owner <> ''; -- what a character came to remember since it was asked last
CREATE INDEX ON passages (content_hash); -- from a near vector to its passages
CREATE INDEX ON passages USING gin (words, audience) WITH (fastupdate = off);

-- The documents as they are now.
CREATE TABLE documents (
    world        text,
    document     text,
    title        text,
    collection   text,
    path         text,
    content_hash text,
    revision     bigint,
    chunks       integer,
    ingested_at  timestamptz,
    position     bigint,
    PRIMARY KEY (world, document)
);

-- What lore can wait for, and the position from which on it was true.
CREATE TABLE truths (
    world     text,
    condition text,
    since     bigint,
    position  bigint,
    PRIMARY KEY (world, condition)
);

-- What players have achieved, as tokens of an audience, and since when.
CREATE TABLE progress (
    world    text,
    holder   text,
    token    text,
    since    bigint,
    position bigint,
    PRIMARY KEY (world, holder, token)
);

-- When a character forgot a player: memories of that player from before do not count any more.
CREATE TABLE strangers (
    world    text,
    owner    text,
    player   text,
    since    bigint,
    position bigint,
    PRIMARY KEY (world, owner, player, since)
);
