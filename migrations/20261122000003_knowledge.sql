-- migrate:up

-- Vectors of texts. A vector is a pure function of model and text, so it is kept under the hash of the text, outlives every generation of the
-- projection `knowledge`, and is never changed.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS vector;
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
        RAISE EXCEPTION 'worldbus needs the extension vector (pgvector 0.8.4 or newer), and % may not create it or it is not installed: run CREATE EXTENSION vector as an administrator, then migrate again', current_user;
END $$;

CREATE TABLE worldbus.embedding_models (
    model          text PRIMARY KEY,
    embedder       text        NOT NULL,
    dimension      integer     NOT NULL CHECK (dimension BETWEEN 1 AND 4000),
    query_prefix   text        NOT NULL DEFAULT '',
    passage_prefix text        NOT NULL DEFAULT '',
    state          text        NOT NULL CHECK (state IN ('filling', 'serving', 'retired')),
    vectors        bigint      NOT NULL DEFAULT 0,
    indexed        boolean     NOT NULL DEFAULT false,
    ef_search      integer     NOT NULL DEFAULT 100,
    recall         double precision,
    created_at     timestamptz NOT NULL DEFAULT now(),
    switched_at    timestamptz
);
COMMENT ON COLUMN worldbus.embedding_models.state IS 'filling: beside the one that serves; serving: searches use it (at most one); retired: was replaced.';
COMMENT ON COLUMN worldbus.embedding_models.vectors IS 'How many it had when last counted.';
COMMENT ON COLUMN worldbus.embedding_models.indexed IS 'Broad searches use its index (HNSW), since that was measured to find what an exact scan finds.';
COMMENT ON COLUMN worldbus.embedding_models.recall IS 'Share of the exact scan''s first ten that the index found when it was last measured, at the audience where it was lowest.';
CREATE UNIQUE INDEX one_serving_model ON worldbus.embedding_models (state) WHERE state = 'serving';

CREATE TABLE worldbus.embeddings (
    model        text,
    content_hash text,
    vector       public.halfvec NOT NULL,
    PRIMARY KEY (model, content_hash)
);

-- How many passages of a world have a word, or may be known to a token. Only speed and rank depend on it: it may be old.
CREATE TABLE worldbus.search_terms (
    world    text,
    kind     text CHECK (kind IN ('all', 'word', 'token')),
    term     text,
    passages bigint NOT NULL,
    PRIMARY KEY (world, kind, term)
);

-- Who may know a passage `p`, as one condition that every way of searching carries: $1 world, $2 position, $3 tokens, $4 tags, $5 kinds, $6 owner.
CREATE FUNCTION worldbus.kb_visible() RETURNS text LANGUAGE sql IMMUTABLE AS $fn$ SELECT $sql$
    p.world = $1 AND p.added <= $2 AND (p.ended IS NULL OR p.ended > $2) AND p.audience && $3
    AND (p.since = '' OR EXISTS (SELECT FROM world.truths t WHERE t.world = p.world AND t.condition = p.since AND t.since <= $2))
    AND (p.player = '' OR NOT EXISTS (SELECT FROM world.strangers s
         WHERE s.world = p.world AND s.owner = p.owner AND s.player = p.player AND s.since > p.added AND s.since <= $2))
    AND ($4::text[] IS NULL OR p.tags && $4) AND ($5::text[] IS NULL OR p.kind = ANY ($5)) AND ($6::text IS NULL OR p.owner = $6)
$sql$ $fn$;

-- About how many passages these tokens may know; at most `all`.
CREATE FUNCTION worldbus.kb_breadth(world text, tokens text[]) RETURNS bigint
LANGUAGE sql STABLE AS $fn$
    SELECT least(max(s.passages) FILTER (WHERE s.kind = 'all'), coalesce(sum(s.passages) FILTER (WHERE s.kind = 'token'), 0))::bigint
      FROM worldbus.search_terms s
     WHERE s.world = kb_breadth.world AND (s.kind = 'all' AND s.term = '' OR s.kind = 'token' AND s.term = ANY (kb_breadth.tokens))
$fn$;

-- The nearest passages by a scan of everything visible.
CREATE FUNCTION worldbus.kb_exact(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text, model text, vector real[], depth integer)
RETURNS TABLE (id text, revision bigint, nearness double precision)
LANGUAGE plpgsql STABLE SET jit = off AS $fn$
BEGIN
    RETURN QUERY EXECUTE
        'SELECT p.id, p.revision, -(e.vector OPERATOR(public.<#>) $8::public.halfvec)
           FROM world.passages p JOIN worldbus.embeddings e ON e.model = $7 AND e.content_hash = p.content_hash
          WHERE ' || worldbus.kb_visible() || ' ORDER BY 3 DESC, 1 LIMIT $9'
        USING world, pos, tokens, tags, kinds, owner, model, vector, depth;
END $fn$;

-- The nearest passages by the index of the model's vectors, which goes on until it has found enough that are visible; in no strict order.
CREATE FUNCTION worldbus.kb_near(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text, model text, vector real[], depth integer, ef integer)
RETURNS TABLE (id text, revision bigint, nearness double precision)
LANGUAGE plpgsql STABLE SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_sort = off SET enable_material = off SET enable_memoize = off SET max_parallel_workers_per_gather = 0 AS $fn$
BEGIN
    PERFORM vector::public.halfvec; -- loads pgvector, which brings these settings; they last until the transaction ends
    PERFORM set_config('hnsw.ef_search', ef::text, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
            set_config('hnsw.max_scan_tuples', '40000', true);
    RETURN QUERY EXECUTE format(
        'SELECT p.id, p.revision, -e.distance
           FROM (SELECT v.content_hash, v.vector::public.halfvec(%1$s) OPERATOR(public.<#>) $7::public.halfvec(%1$s) AS distance
                   FROM worldbus.embeddings v WHERE v.model = %2$L
                  ORDER BY v.vector::public.halfvec(%1$s) OPERATOR(public.<#>) $7::public.halfvec(%1$s)) e
           JOIN world.passages p ON p.content_hash = e.content_hash
          WHERE ' || worldbus.kb_visible() || ' ORDER BY e.distance LIMIT $8', cardinality(vector), model)
        USING world, pos, tokens, tags, kinds, owner, vector, depth;
END $fn$;

-- The best passages by their words: each word of the question counts by how rare it is, and as much as the passage makes of it.
-- Words that everybody uses match too much to be ranked in time; where the rarer ones do not narrow the question down enough, several of them
-- have to stand together. So at most some hundred passages are ranked, whatever is asked. What takes the time is the index's look at every
-- passage of the rarest word in each group, so all groups share theirs.
CREATE FUNCTION worldbus.kb_words(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text, question text, depth integer)
RETURNS TABLE (id text, revision bigint, weight double precision)
LANGUAGE plpgsql STABLE SET jit = off SET max_parallel_workers_per_gather = 0 AS $fn$
DECLARE
    most_candidates CONSTANT integer := 800;
    words  tsvector := to_tsvector('pg_catalog.english', left(question, 2000));
    terms  text[];
    counts double precision[];
    total  double precision;
    share  double precision;
    broad  bigint;
    whole  boolean;
    chosen text := '';
    room   double precision := 400;
    guess  double precision;
    others text := '';
    first  integer := 1;
    n      integer;
BEGIN
    SELECT s.passages INTO total FROM worldbus.search_terms s WHERE s.world = kb_words.world AND s.kind = 'all' AND s.term = '';
    broad := worldbus.kb_breadth(world, tokens);
    share := CASE WHEN total > 0 THEN greatest(broad, 1) / total ELSE 1 END;
    SELECT array_agg('''' || replace(replace(l.lexeme, '\', '\\'), '''', '''''') || '''' ORDER BY c.n, l.lexeme), array_agg(c.n ORDER BY c.n, l.lexeme)
      INTO terms, counts
      FROM (SELECT u.lexeme FROM unnest(words) u ORDER BY length(u.lexeme) DESC LIMIT 24) l
      LEFT JOIN worldbus.search_terms s ON s.world = kb_words.world AND s.kind = 'word' AND s.term = l.lexeme
     CROSS JOIN LATERAL (SELECT coalesce(s.passages, total / 5000, 0)::double precision AS n) c;
    IF terms IS NULL THEN
        RETURN;
    END IF;
    n := cardinality(terms);
    whole := total IS NULL OR total <= 2 * most_candidates OR broad <= most_candidates;
    IF whole THEN
        chosen := array_to_string(terms, ' | ');
    ELSE
        -- 1. Rare words: each of them is enough.
        WHILE first <= n AND counts[first] * share <= room LOOP
            chosen := chosen || ' | ' || terms[first];
            room := room - counts[first] * share;
            first := first + 1;
        END LOOP;
        -- 2. Common words: the rarest of them, and with it as many of the next ones together as narrow it down, beginning anew with each.
        IF first <= n AND (room >= 100 OR chosen = '') THEN
            FOR start IN first + 1 .. n LOOP
                guess := counts[first] * share;
                EXIT WHEN room < 100 AND others <> '';
                FOR upto IN start .. n LOOP
                    guess := guess * counts[upto] / total;
                    IF guess <= room OR (upto = n AND others = '' AND chosen = '') THEN
                        others := others || ' | ' || array_to_string(terms[start:upto], ' & ');
                        room := room - guess;
                        EXIT;
                    END IF;
                END LOOP;
            END LOOP;
            IF others <> '' THEN
                chosen := chosen || ' | ' || terms[first] || ' & (' || substr(others, 4) || ')';
            ELSIF chosen = '' THEN
                chosen := ' | ' || terms[first];
            END IF;
        END IF;
        chosen := substr(chosen, 4);
    END IF;
    RETURN QUERY EXECUTE
        'WITH found AS MATERIALIZED (
             SELECT p.id, p.revision, p.words FROM world.passages p WHERE p.words @@ $7 AND ' || worldbus.kb_visible() || ' LIMIT $8
         ), rarity AS MATERIALIZED (
             SELECT t.term, power(ln(1 + (greatest($11, k.n) - k.n + 0.5) / (k.n + 0.5)), 1.5) AS idf
               FROM unnest($9::tsquery[], $10) t(term, known)
              CROSS JOIN LATERAL (SELECT CASE WHEN $12 THEN (SELECT count(*) FROM found f WHERE f.words @@ t.term) ELSE t.known END AS n) k
         )
         SELECT f.id, f.revision, (SELECT sum(ts_rank(''{0.7,0.7,0.8,1}'', f.words, y.term, 1) * y.idf) FROM rarity y) AS weight
           FROM found f ORDER BY weight DESC, f.id LIMIT $13'
        USING world, pos, tokens, tags, kinds, owner, chosen::tsquery, most_candidates, terms, counts,
              coalesce(total, (SELECT count(*) FROM world.passages q WHERE q.world = kb_words.world)::double precision),
              whole AND (total IS NULL OR total <= 2 * most_candidates), depth;
END $fn$;

-- How many a search looks at in each way to fuse so many.
CREATE FUNCTION worldbus.kb_depth(most integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $fn$ SELECT greatest(15, 3 * most) $fn$;

-- What kb_search finds by words, best first, and the position that this is as of: it can be had while the question's vector is computed.
CREATE FUNCTION worldbus.kb_by_words(world text, question text, tokens text[], most integer, as_of bigint, tags text[], kinds text[], owner text)
RETURNS TABLE (at_position bigint, by_words jsonb)
LANGUAGE sql STABLE AS $fn$
    SELECT c.pos, (SELECT coalesce(pg_catalog.jsonb_agg(w), '[]')
                     FROM worldbus.kb_words(kb_by_words.world, c.pos, kb_by_words.tokens, kb_by_words.tags, kb_by_words.kinds, kb_by_words.owner,
                                            kb_by_words.question, worldbus.kb_depth(kb_by_words.most)) w)
      FROM (SELECT coalesce(kb_by_words.as_of, k.position) AS pos FROM worldbus.checkpoint k) c
$fn$;

-- Search the knowledge base: what these tokens may know as of a position, best first. Without a vector by words alone.
-- `by_words` is what kb_by_words said of the same question as of the same position; without it, it is asked.
CREATE FUNCTION world.kb_search(
    world text, question text, tokens text[] DEFAULT '{public}', most integer DEFAULT 5, mode text DEFAULT NULL, as_of bigint DEFAULT NULL,
    tags text[] DEFAULT NULL, kinds text[] DEFAULT NULL, owner text DEFAULT NULL, vector real[] DEFAULT NULL, model text DEFAULT NULL,
    by_words jsonb DEFAULT NULL
)
RETURNS TABLE (
    passage_id text, revision bigint, kind text, document text, title text, heading text[], line_from integer, line_to integer, body text,
    content_hash text, tag text[], audience text[], owned_by text, player text, salience integer, formed_ms bigint, added bigint,
    score double precision, text_rank bigint, vector_rank bigint, weight double precision, nearness double precision, at_position bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $fn$
#variable_conflict use_column
DECLARE
    deep  CONSTANT integer := worldbus.kb_depth(kb_search.most);
    head  bigint := (SELECT c.position FROM worldbus.checkpoint c);
    pos   bigint := coalesce(kb_search.as_of, head);
    how   text := coalesce(kb_search.mode, CASE WHEN kb_search.vector IS NULL THEN 'text' ELSE 'hybrid' END);
    m     worldbus.embedding_models;
    broad bigint;
    near_ids text[];   near_revisions bigint[]; near_scores double precision[];
    word_ids text[];   word_revisions bigint[]; word_scores double precision[];
BEGIN
    IF how NOT IN ('hybrid', 'vector', 'text') THEN
        RAISE EXCEPTION 'wanted the mode hybrid, vector or text, found %', how USING ERRCODE = 'KB002';
    END IF;
    IF how <> 'text' THEN
        SELECT e.* INTO m FROM worldbus.embedding_models e WHERE e.state = 'serving';
        IF kb_search.vector IS NULL OR kb_search.model IS NULL THEN
            RAISE EXCEPTION 'the mode % needs the vector of the question and the model it was made with', how USING ERRCODE = 'KB002';
        END IF;
        IF m.model IS DISTINCT FROM kb_search.model OR m.dimension <> cardinality(kb_search.vector) THEN
            RAISE EXCEPTION 'wanted a vector of the model % (% numbers), found one of % (% numbers): vectors of two models cannot be compared',
                coalesce(m.model, 'none: no model serves yet'), coalesce(m.dimension, 0), kb_search.model, cardinality(kb_search.vector)
                USING ERRCODE = 'KB001';
        END IF;
        broad := worldbus.kb_breadth(kb_search.world, kb_search.tokens);
        -- The index pays where much is visible; where little is, all of that is scanned, and so is what the index did not find enough of.
        IF m.indexed AND broad > 3000 AND broad > m.vectors / 50 THEN
            SELECT array_agg(x.id ORDER BY x.nearness DESC, x.id), array_agg(x.revision ORDER BY x.nearness DESC, x.id),
                   array_agg(x.nearness ORDER BY x.nearness DESC, x.id) INTO near_ids, near_revisions, near_scores
              FROM worldbus.kb_near(kb_search.world, pos, kb_search.tokens, kb_search.tags, kb_search.kinds, kb_search.owner, m.model, kb_search.vector, deep,
                                    greatest(m.ef_search, least(800, 19 * deep * m.vectors / (10 * broad))::integer)) x;
        END IF;
        IF near_ids IS NULL OR cardinality(near_ids) < deep THEN
            SELECT array_agg(x.id), array_agg(x.revision), array_agg(x.nearness) INTO near_ids, near_revisions, near_scores
              FROM worldbus.kb_exact(kb_search.world, pos, kb_search.tokens, kb_search.tags, kb_search.kinds, kb_search.owner, m.model, kb_search.vector, deep) x;
        END IF;
    END IF;
    IF how <> 'vector' THEN
        SELECT array_agg(x.id), array_agg(x.revision), array_agg(x.weight) INTO word_ids, word_revisions, word_scores
          FROM jsonb_to_recordset(coalesce(kb_search.by_words, (
                   SELECT b.by_words FROM worldbus.kb_by_words(kb_search.world, kb_search.question, kb_search.tokens, kb_search.most, pos,
                                                            kb_search.tags, kb_search.kinds, kb_search.owner) b
               ))) x(id text, revision bigint, weight float8);
    END IF;
    RETURN QUERY EXECUTE
        'WITH fused AS (
             SELECT coalesce(v.id, w.id) AS id, coalesce(v.revision, w.revision) AS revision, v.n AS vector_rank, w.n AS text_rank, v.s AS nearness, w.s AS weight,
                    coalesce(1.0 / (60 + v.n), 0) + coalesce(1.0 / (60 + w.n), 0) AS score
               FROM unnest($7::text[], $8::bigint[], $9::float8[]) WITH ORDINALITY v(id, revision, s, n)
               FULL JOIN unnest($10::text[], $11::bigint[], $12::float8[]) WITH ORDINALITY w(id, revision, s, n) ON v.id = w.id AND v.revision = w.revision
              ORDER BY score DESC, vector_rank, text_rank LIMIT $13
         )
         SELECT p.id, p.revision, p.kind, p.document, p.title, p.heading, p.line_from, p.line_to, p.body, p.content_hash, p.tags, p.audience,
                p.owner, p.player, p.salience, p.formed_ms, p.added,
                (CASE $14 WHEN ''vector'' THEN f.nearness WHEN ''text'' THEN f.weight ELSE f.score END)::float8,
                f.text_rank, f.vector_rank, f.weight, f.nearness, $2
           FROM fused f JOIN world.passages p ON p.world = $1 AND p.id = f.id AND p.revision = f.revision
          WHERE ' || worldbus.kb_visible() || ' ORDER BY f.score DESC, f.vector_rank, f.text_rank'
        USING kb_search.world, pos, kb_search.tokens, kb_search.tags, kb_search.kinds, kb_search.owner, near_ids, near_revisions, near_scores,
              word_ids, word_revisions, word_scores, kb_search.most, how;
END $fn$;
COMMENT ON FUNCTION world.kb_search IS 'Search the knowledge base: what these tokens may know as of a position, best first; without a vector by words alone.';
GRANT EXECUTE ON FUNCTION world.kb_search TO worldbus_reader;

CREATE VIEW world.embedding_models AS
SELECT model, embedder, dimension, query_prefix, passage_prefix, state, vectors, indexed, ef_search, recall, created_at, switched_at FROM worldbus.embedding_models;
COMMENT ON VIEW world.embedding_models IS 'What turns text into vectors: the model that searches use, those that are filled beside it and those that were replaced.';

-- migrate:down
DROP VIEW world.embedding_models;
DROP FUNCTION world.kb_search;
DROP FUNCTION worldbus.kb_by_words;
DROP FUNCTION worldbus.kb_depth;
DROP FUNCTION worldbus.kb_words;
DROP FUNCTION worldbus.kb_near;
DROP FUNCTION worldbus.kb_exact;
DROP FUNCTION worldbus.kb_breadth;
DROP FUNCTION worldbus.kb_visible;
DROP TABLE worldbus.search_terms;
DROP TABLE worldbus.embeddings;
DROP TABLE worldbus.embedding_models;
