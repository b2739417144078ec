-- migrate:up

-- Searching by words, second edition: letters without their marks, scripts without spaces by pairs of characters, and BM25 in place of ts_rank.
-- The tables that the projection `knowledge` fills from version 2 on have a passage's stems (`words`, for the index) and its weights (`weights`:
-- one number for each word, by which it is ranked). A question is cut into words by the same functions. Whoever changes them makes new ones
-- beside, and raises the projection's version: while it is built anew, the old tables go on being asked by the old functions.

CREATE TEXT SEARCH DICTIONARY worldbus.english (TEMPLATE = pg_catalog.snowball, LANGUAGE = english);
COMMENT ON TEXT SEARCH DICTIONARY worldbus.english IS 'English stems of all words, "who" and "not" among them: in questions and headings they mean something.';
CREATE TEXT SEARCH CONFIGURATION worldbus.words (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION worldbus.words ALTER MAPPING REPLACE english_stem WITH worldbus.english;

-- Small letters without marks: é as e, ß as ss, ł as l, ø as o, æ as ae, þ as th; vowel points of Hebrew and Arabic are left out. Whatever the
-- database's locale. What makes one letter another in its own script stays: the marks of Thai, Hindi or Japanese.
CREATE FUNCTION worldbus.kb_fold(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $fn$
    SELECT CASE WHEN octet_length(t) = length(t) THEN lower(t COLLATE pg_c_utf8) COLLATE "C" ELSE
        normalize(regexp_replace(replace(replace(replace(
            translate(normalize(casefold(normalize(t, NFKD) COLLATE pg_unicode_fast) COLLATE "C", NFKD),
                'łđðøıħŧŋƒɓɗɖɨʉ' || U&'\00AD\200B\200C\200D\2060\FEFF\0640', 'lddoihtnfbddiu'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'),
        '[\u0300-\u036F\u0591-\u05C7\u0610-\u061A\u064B-\u065F\u0670\u06D6-\u06ED\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\uFE00-\uFE0F\uFE20-\uFE2F]+', '', 'g'),
        NFC) END
$fn$;

-- Characters of the scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) or whose words grow endings that
-- nothing here cuts off (Korean), as the inside of a bracket expression.
CREATE FUNCTION worldbus.kb_unspaced() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    SELECT '\u3005-\u3007\u3031-\u3035\u303B\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3105-\u312F\u31A0-\u31BF\u31F0-\u31FF\u3400-\u4DBF'
        || '\u4E00-\u9FFF\uA000-\uA48C\uAC00-\uD7A3\uF900-\uFAFF\U00020000-\U0003FFFF\u0E01-\u0E3A\u0E40-\u0E4E\u0E81-\u0ECF\u0EDC-\u0EDF'
        || '\u1000-\u103F\u1050-\u109F\uA9E0-\uA9FE\uAA60-\uAA7F\u1780-\u17D3'
$fn$;

-- The words of a text with spaces between. Of a script without spaces they are all pairs of characters that stand beside each other, and each
-- character; of a question (`asked`) the pairs alone, or a character that stands alone.
CREATE FUNCTION worldbus.kb_plain(t text, asked boolean) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $fn$
DECLARE
    unspaced CONSTANT text := worldbus.kb_unspaced();
    plain text := translate(worldbus.kb_fold(t), '-_./''@:=<>&;+', '             ');
    runs  text;
    pairs text;
BEGIN
    IF octet_length(plain) = length(plain) THEN
        RETURN plain;
    END IF;
    -- Marks that are no letters to Postgres, but stand inside of words of South and South-East Asia, are kept with them.
    plain := regexp_replace(plain COLLATE pg_unicode_fast,
        '[^[:alnum:]\u0900-\u0963\u0966-\u0E3A\u0E40-\u0E4E\u0E50-\u0E59\u0E80-\u0ECF\u0F18-\u0F39\u0F71-\u0F84\u1000-\u1049\u1050-\u109F\u1780-\u17D3\u17DD\u1A20-\u1A7F]+',
        ' ', 'g');
    IF plain !~ ('[' || unspaced || ']') THEN
        RETURN plain;
    END IF;
    runs := regexp_replace(plain, '[^' || unspaced || ']+', ' ', 'g');
    pairs := regexp_replace(runs, '([^ ][^ ])', '\1 ', 'g') || ' '
          || regexp_replace(regexp_replace(runs, '(^| )[^ ]', '\1', 'g'), '([^ ][^ ])', '\1 ', 'g');
    RETURN regexp_replace(plain, '[' || unspaced || ']+', ' ', 'g') || ' ' || CASE
        WHEN asked THEN regexp_replace(pairs, '(^| )[^ ](?= |$)', '\1', 'g') || ' ' || regexp_replace(runs, '[^ ]{2,}', ' ', 'g')
        ELSE pairs || ' ' || regexp_replace(runs, '([^ ])', '\1 ', 'g') END;
END $fn$;

-- What stands above a passage: its headings, below the document's title if that is not among them.
CREATE FUNCTION worldbus.kb_above(title text, heading text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    SELECT array_to_string(CASE WHEN title = ANY (heading) THEN heading ELSE title || heading END, ' ')
$fn$;

-- The stems of a passage, for the index.
CREATE FUNCTION worldbus.kb_stems(title text, heading text[], body text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    SELECT strip(to_tsvector('worldbus.words'::regconfig, worldbus.kb_plain(worldbus.kb_above(title, heading) || ' ' || body, false)))
$fn$;

-- Where a word stands in a vector of weights. Two words in 500 million have one place: nobody notices.
CREATE FUNCTION worldbus.kb_place(word text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$ SELECT (hashtext(word) & 536870911) + 1 $fn$;

-- The weights of a passage's words after BM25 (Robertson and Zaragoza 2009): tf · (k + 1) / (tf + k · (1 - b + b · length / usual length)), with
-- k = 1.2, b = 0.75 and a usual length of 90 words, where a word in a heading counts twice. Six tenths for the stem, four for the word as it
-- is written: "files" finds "file", and "files" before it. The inner product with a question's rarities (kb_question) is its BM25.
CREATE FUNCTION worldbus.kb_weights(title text, heading text[], body text) RETURNS public.sparsevec LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    WITH word AS MATERIALIZED (
        SELECT u.lexeme, (ts_lexize('worldbus.english', u.lexeme))[1] AS stem, (cardinality(u.positions) + cardinality(array_positions(u.weights, 'A')))::float8 AS tf,
               octet_length(u.lexeme) <> length(u.lexeme) AND u.lexeme ~ ('^[' || worldbus.kb_unspaced() || ']') AS unspaced
          FROM unnest(setweight(to_tsvector('pg_catalog.simple'::regconfig, worldbus.kb_plain(worldbus.kb_above(title, heading), false)), 'A')
                      || to_tsvector('pg_catalog.simple'::regconfig, worldbus.kb_plain(body, false))) u
    ), length AS (
        SELECT 1.2 * (0.25 + 0.75 * sum(CASE WHEN unspaced THEN tf / 4 ELSE tf END) / 90) AS k FROM word -- of each character its two pairs and itself
    ), weight AS (
        SELECT worldbus.kb_place('s' || stem) AS place, CASE WHEN bool_or(unspaced) THEN 1 ELSE 0.6 END * sum(tf) * 2.2 / (sum(tf) + k) AS weight
          FROM word, length GROUP BY stem, k
        UNION ALL
        SELECT worldbus.kb_place('w' || lexeme), 0.4 * tf * 2.2 / (tf + k) FROM word, length WHERE NOT unspaced
    )
    SELECT ('{' || string_agg(place || ':' || weight, ',') || '}/536870912')::public.sparsevec
      FROM (SELECT place, sum(weight)::real AS weight FROM weight GROUP BY place ORDER BY 2 DESC LIMIT 8000) w
$fn$;

-- A question as the index and the weights want it: its stems, the rarest first, with how many passages have each (without what every text is
-- full of, unless that is all there is); how rare each word is, as a vector; and what a passage would weigh that says all of it in a sentence.
-- A word that stands nowhere is taken as the known word most like it. Of words that are not counted yet, passages are looked at.
CREATE FUNCTION worldbus.kb_question(world text, question text)
RETURNS TABLE (terms text[], counts double precision[], total double precision, asked text, most double precision)
LANGUAGE plpgsql STABLE SET jit = off SET enable_seqscan = off AS $fn$
#variable_conflict use_column
DECLARE
    alike CONSTANT double precision := 0.5; -- of the pairs of letters that either word has, those that both have
    plain CONSTANT text := worldbus.kb_plain(left(kb_question.question, 2000), true);
    every double precision := (SELECT s.passages FROM worldbus.search_terms s WHERE s.world = kb_question.world AND s.kind = 'all' AND s.term = '');
BEGIN
    IF every IS NULL THEN
        SELECT count(*) INTO every FROM (SELECT FROM world.passages p WHERE p.world = kb_question.world AND p.ended IS NULL LIMIT 5000) few;
    END IF;
    RETURN QUERY
    WITH word AS MATERIALIZED (
        SELECT u.lexeme AS word, (ts_lexize('worldbus.english', u.lexeme))[1] AS stem, ts_lexize('pg_catalog.english_stem', u.lexeme) = '{}' AS everywhere
          FROM (SELECT l.lexeme FROM unnest(to_tsvector('pg_catalog.simple', plain)) l ORDER BY length(l.lexeme) DESC, l.lexeme LIMIT 48) u
    ), known AS MATERIALIZED (
        SELECT w.word, w.stem, w.everywhere, coalesce(s.passages, (SELECT count(*) FROM (
                   SELECT FROM world.passages p WHERE p.words @@ worldbus.kb_term(w.stem)::tsquery AND p.world = kb_question.world LIMIT 50
               ) few))::double precision AS n
          FROM word w LEFT JOIN worldbus.search_terms s ON s.world = kb_question.world AND s.kind = 'word' AND s.term = w.stem
    ), meant AS MATERIALIZED (
        SELECT k.word, coalesce(m.term, k.stem) AS stem, k.everywhere, coalesce(m.passages, k.n)::double precision AS n, m.term IS NULL AS written
          FROM known k
          LEFT JOIN LATERAL (
              SELECT s.term, s.passages FROM worldbus.search_terms s, worldbus.kb_pairs(k.stem) written(pairs)
               WHERE k.n = 0 AND NOT k.everywhere AND length(k.stem) BETWEEN 4 AND 24 AND k.stem ~ '^[[:alpha:]]+$'
                 AND s.world = kb_question.world AND s.kind = 'word' AND "left"(s.term, 1) = "left"(k.stem, 1)
                 AND length(s.term) BETWEEN length(k.stem) - 2 AND length(k.stem) + 2
                 AND bit_count(s.pairs & written.pairs) >= alike * bit_count(s.pairs | written.pairs)
               ORDER BY bit_count(s.pairs & written.pairs)::double precision / bit_count(s.pairs | written.pairs) DESC, s.passages DESC, s.term LIMIT 1
          ) m ON true
    ), rare AS MATERIALIZED ( -- among at least 300: of a few passages none is rare
        SELECT m.*, CASE WHEN m.everywhere THEN 0.5 ELSE 1 END * ln(1 + (greatest(every, 300, m.n) - m.n + 0.5) / (m.n + 0.5)) AS rarity FROM meant m
    ), term AS (
        SELECT r.stem, min(r.n) AS n FROM rare r WHERE NOT r.everywhere OR NOT EXISTS (SELECT FROM rare other WHERE NOT other.everywhere) GROUP BY r.stem
    ), place AS (
        SELECT worldbus.kb_place('s' || r.stem) AS place, r.rarity FROM rare r
        UNION ALL
        SELECT worldbus.kb_place('w' || r.word), r.rarity FROM rare r WHERE r.written
    )
    SELECT (SELECT array_agg(worldbus.kb_term(t.stem) ORDER BY t.n, t.stem) FROM term t), (SELECT array_agg(t.n ORDER BY t.n, t.stem) FROM term t), every,
           (SELECT '{' || string_agg(w.place || ':' || w.rarity, ',') || '}/536870912' FROM (SELECT p.place, sum(p.rarity)::real AS rarity FROM place p GROUP BY p.place) w),
           (SELECT 2.2 * sum(r.rarity)::double precision FROM rare r);
END $fn$;

-- A stem as a part of a tsquery, whatever is in it.
CREATE FUNCTION worldbus.kb_term(stem text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    SELECT '''' || replace(replace(stem, '\', '\\'), '''', '''''') || ''''
$fn$;

-- Which passages to weigh for a question of these stems: those with a rare one, and of the common ones those that have several together. All
-- that match, where that is not too many; else the rarest stems share the room. What takes the time is the index's look at every passage of the
-- rarest stem in each group.
CREATE FUNCTION worldbus.kb_chosen(terms text[], counts double precision[], total double precision, broad double precision) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $fn$
DECLARE
    n      CONSTANT integer := cardinality(terms);
    share  CONSTANT double precision := CASE WHEN total > 0 THEN least(1, greatest(broad, 1) / total) ELSE 1 END;
    room   double precision := 600;
    chosen text := '';
    others text := '';
    guess  double precision;
    first  integer := 1;
BEGIN
    IF least(total, broad) <= 2000 THEN
        RETURN array_to_string(terms, ' | ');
    END IF;
    -- 1. Rare stems: each of them is enough.
    WHILE first <= n AND counts[first] * share <= room LOOP
        chosen := chosen || ' | ' || terms[first];
        room := room - counts[first] * share;
        first := first + 1;
    END LOOP;
    -- 2. Common stems: the rarest of them, and with it as many of the next ones together as narrow it down, beginning anew with each.
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
    RETURN substr(chosen, 4);
END $fn$;

-- Whether the passages that readers see have weights; until the projection has been built anew they have not.
CREATE FUNCTION worldbus.kb_weighed() RETURNS boolean LANGUAGE sql STABLE AS $fn$
    SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('world.passages') AND a.attname = 'weights' AND NOT a.attisdropped)
$fn$;

-- The weights of a passage `p`: as they are kept, or made now (memories, and tables of before).
CREATE FUNCTION worldbus.kb_weights_of(weighed boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $fn$
    SELECT CASE WHEN weighed THEN 'coalesce(p.weights, worldbus.kb_weights(p.title, p.heading, p.body))' ELSE 'worldbus.kb_weights(p.title, p.heading, p.body)' END
$fn$;

-- The passages that weigh most for a question, as kb_question read it; at most 3000 are weighed, whatever is asked.
CREATE FUNCTION worldbus.kb_heaviest(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text,
                                     terms text[], counts double precision[], total double precision, asked text, depth integer)
RETURNS TABLE (id text, revision bigint, weight double precision)
LANGUAGE plpgsql STABLE SET jit = off SET max_parallel_workers_per_gather = 0 AS $fn$
BEGIN
    IF terms IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE
        'SELECT f.id, f.revision, f.weight
           FROM (SELECT p.id, p.revision, -(' || worldbus.kb_weights_of(true) || ' OPERATOR(public.<#>) $8::public.sparsevec) AS weight
                   FROM world.passages p WHERE p.words @@ $7 AND ' || worldbus.kb_visible() || ' LIMIT 3000) f
          ORDER BY f.weight DESC, f.id LIMIT $9'
        USING world, pos, tokens, tags, kinds, owner,
              worldbus.kb_chosen(terms, counts, total, coalesce(worldbus.kb_breadth(world, tokens), total))::tsquery, asked, depth;
END $fn$;

-- What kb_search finds by words, best first, with the question as it was read, and the position that this is as of: it can be had while the
-- question's vector is computed.
CREATE OR REPLACE FUNCTION worldbus.kb_by_words(world text, question text, tokens text[], most integer, as_of bigint, tags text[], kinds text[], owner text)
RETURNS TABLE (at_position bigint, by_words jsonb)
LANGUAGE plpgsql STABLE SET jit = off AS $fn$
#variable_conflict use_column
DECLARE
    pos  bigint := coalesce(kb_by_words.as_of, (SELECT k.position FROM worldbus.checkpoint k));
    deep CONSTANT integer := worldbus.kb_depth(kb_by_words.most);
    q record;
    found jsonb;
BEGIN
    SELECT k.* INTO q FROM worldbus.kb_question(kb_by_words.world, kb_by_words.question) k;
    IF worldbus.kb_weighed() THEN
        SELECT jsonb_agg(f) INTO found
          FROM worldbus.kb_heaviest(kb_by_words.world, pos, kb_by_words.tokens, kb_by_words.tags, kb_by_words.kinds, kb_by_words.owner,
                                    q.terms, q.counts, q.total, q.asked, deep) f;
    ELSE
        SELECT jsonb_agg(f) INTO found
          FROM worldbus.kb_words(kb_by_words.world, pos, kb_by_words.tokens, kb_by_words.tags, kb_by_words.kinds, kb_by_words.owner,
                                 worldbus.kb_spelt(kb_by_words.world, kb_by_words.question), deep) f;
    END IF;
    RETURN QUERY SELECT pos, jsonb_build_object('asked', q.asked, 'most', q.most, 'found', coalesce(found, '[]'));
END $fn$;

-- How near two texts are that have nothing to do with each other, by the model that the calibration was made with (all-MiniLM-L6-v2), as
-- projections/knowledge/unlike.py measures it. Of another model it is something else; nearness is read between this and 1.
ALTER TABLE worldbus.embedding_models ADD COLUMN unlike double precision;
COMMENT ON COLUMN worldbus.embedding_models.unlike IS 'Mean cosine of texts that have nothing to do with each other; null while nobody measured it.';

-- How likely a passage answers a question: from its nearness (null: not known), and from the share of what it could weigh at most. Logistic
-- regression on the labelled questions of the sample world, with as many that something answers as of those that nothing does:
-- docs/adr/0103. Half and half is how the two are put together, so the order of a hybrid search is that of nearness + share.
CREATE FUNCTION worldbus.kb_likely(how text, nearness double precision, share double precision) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    SELECT 1 / (1 + exp(-CASE WHEN how = 'vector' THEN 28 * (coalesce(nearness, 0) - 0.39)
                              WHEN how = 'text' OR nearness IS NULL THEN 32 * (coalesce(share, 0) - 0.2)
                              ELSE 50 * ((nearness + coalesce(share, 0)) / 2 - 0.263) END))
$fn$;

-- Search the knowledge base: what these tokens may know as of a position, best first. Without a vector by words alone.
-- `by_words` is what kb_by_words said of the same question as of the same position; without it, it is asked.
CREATE OR REPLACE FUNCTION world.kb_search(
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
    unlike CONSTANT double precision := 0.055; -- of the model that kb_likely was calibrated with
    head  bigint := (SELECT c.position FROM worldbus.checkpoint c);
    pos   bigint := coalesce(kb_search.as_of, head);
    how   text := coalesce(kb_search.mode, CASE WHEN kb_search.vector IS NULL THEN 'text' ELSE 'hybrid' END);
    m     worldbus.embedding_models;
    broad bigint;
    words jsonb := kb_search.by_words;
    near_ids text[];   near_revisions bigint[];
    word_ids text[];   word_revisions bigint[];
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
            SELECT array_agg(x.id ORDER BY x.nearness DESC, x.id), array_agg(x.revision ORDER BY x.nearness DESC, x.id) INTO near_ids, near_revisions
              FROM worldbus.kb_near(kb_search.world, pos, kb_search.tokens, kb_search.tags, kb_search.kinds, kb_search.owner, m.model, kb_search.vector, deep,
                                    greatest(m.ef_search, least(800, 19 * deep * m.vectors / (10 * broad))::integer)) x;
        END IF;
        IF near_ids IS NULL OR cardinality(near_ids) < deep THEN
            SELECT array_agg(x.id), array_agg(x.revision) INTO near_ids, near_revisions
              FROM worldbus.kb_exact(kb_search.world, pos, kb_search.tokens, kb_search.tags, kb_search.kinds, kb_search.owner, m.model, kb_search.vector, deep) x;
        END IF;
    END IF;
    IF how <> 'vector' THEN
        IF words IS NULL THEN
            SELECT b.by_words INTO words
              FROM worldbus.kb_by_words(kb_search.world, kb_search.question, kb_search.tokens, kb_search.most, pos, kb_search.tags, kb_search.kinds, kb_search.owner) b;
        END IF;
        SELECT array_agg(x.id ORDER BY x.n), array_agg(x.revision ORDER BY x.n) INTO word_ids, word_revisions
          FROM (SELECT f.value ->> 'id' AS id, (f.value ->> 'revision')::bigint AS revision, f.n
                  FROM jsonb_array_elements(words -> 'found') WITH ORDINALITY f(value, n) WHERE f.n <= 1000) x;
    END IF;
    RETURN QUERY EXECUTE
        'WITH found AS (
             SELECT coalesce(v.id, w.id) AS id, coalesce(v.revision, w.revision) AS revision, v.n AS vector_rank, w.n AS text_rank
               FROM unnest($7::text[], $8::bigint[]) WITH ORDINALITY v(id, revision, n)
               FULL JOIN unnest($9::text[], $10::bigint[]) WITH ORDINALITY w(id, revision, n) ON v.id = w.id AND v.revision = w.revision
         ), weighed AS (
             SELECT p.*, f.vector_rank, f.text_rank,
                    CASE WHEN $11 <> ''vector'' THEN coalesce(-(' || worldbus.kb_weights_of(worldbus.kb_weighed()) || ' OPERATOR(public.<#>) $12::public.sparsevec), 0) END AS weight,
                    CASE WHEN $11 <> ''text'' THEN -(e.vector OPERATOR(public.<#>) $14::public.halfvec) END AS nearness
               FROM found f JOIN world.passages p ON p.world = $1 AND p.id = f.id AND p.revision = f.revision
               LEFT JOIN worldbus.embeddings e ON $11 <> ''text'' AND e.model = $15 AND e.content_hash = p.content_hash
              WHERE ' || worldbus.kb_visible() || '
         )
         SELECT w.id, w.revision, w.kind, w.document, w.title, w.heading, w.line_from, w.line_to, w.body, w.content_hash, w.tags, w.audience,
                w.owner, w.player, w.salience, w.formed_ms, w.added,
                worldbus.kb_likely($11, $17 + (w.nearness - $16) * (1 - $17) / (1 - $16), w.weight / nullif($13, 0)) AS score,
                w.text_rank, w.vector_rank, w.weight, w.nearness, $2
           FROM weighed w ORDER BY score DESC, w.vector_rank, w.text_rank, w.id LIMIT $18'
        USING kb_search.world, pos, kb_search.tokens, kb_search.tags, kb_search.kinds, kb_search.owner, near_ids, near_revisions,
              word_ids, word_revisions, how, words ->> 'asked', (words ->> 'most')::double precision, kb_search.vector, m.model,
              least(0.99, coalesce(m.unlike, unlike)), unlike, kb_search.most;
END $fn$;
COMMENT ON FUNCTION world.kb_search IS 'Search the knowledge base: what these tokens may know as of a position, best first; without a vector by words alone. `score` is how likely a passage answers the question, from 0 to 1: where the best is below 0.5, probably nothing does.';

-- migrate:down
CREATE OR REPLACE FUNCTION world.kb_search(
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
CREATE OR REPLACE FUNCTION worldbus.kb_by_words(world text, question text, tokens text[], most integer, as_of bigint, tags text[], kinds text[], owner text)
RETURNS TABLE (at_position bigint, by_words jsonb)
LANGUAGE sql STABLE AS $fn$
    SELECT c.pos, (SELECT coalesce(pg_catalog.jsonb_agg(w), '[]')
                     FROM worldbus.kb_words(kb_by_words.world, c.pos, kb_by_words.tokens, kb_by_words.tags, kb_by_words.kinds, kb_by_words.owner,
                                            worldbus.kb_spelt(kb_by_words.world, kb_by_words.question), worldbus.kb_depth(kb_by_words.most)) w)
      FROM (SELECT coalesce(kb_by_words.as_of, k.position) AS pos FROM worldbus.checkpoint k) c
$fn$;
DROP FUNCTION worldbus.kb_likely;
ALTER TABLE worldbus.embedding_models DROP COLUMN unlike;
DROP FUNCTION worldbus.kb_heaviest, worldbus.kb_weights_of, worldbus.kb_weighed, worldbus.kb_chosen, worldbus.kb_term, worldbus.kb_question,
    worldbus.kb_weights, worldbus.kb_place, worldbus.kb_stems, worldbus.kb_above, worldbus.kb_plain, worldbus.kb_unspaced, worldbus.kb_fold;
DROP TEXT SEARCH CONFIGURATION worldbus.words;
DROP TEXT SEARCH DICTIONARY worldbus.english;
