\restrict dbmate

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: world; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA world;


--
-- Name: SCHEMA world; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA world IS 'What readers see: views on the live generation of every projection.';


--
-- Name: worldbus; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA worldbus;


--
-- Name: SCHEMA worldbus; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA worldbus IS 'Written by the projector alone.';


--
-- Name: kb_search(text, text, text[], integer, text, bigint, text[], text[], text, real[], text, jsonb); Type: FUNCTION; Schema: world; Owner: -
--

CREATE FUNCTION world.kb_search(world text, question text, tokens text[] DEFAULT '{public}'::text[], most integer DEFAULT 5, mode text DEFAULT NULL::text, as_of bigint DEFAULT NULL::bigint, tags text[] DEFAULT NULL::text[], kinds text[] DEFAULT NULL::text[], owner text DEFAULT NULL::text, vector real[] DEFAULT NULL::real[], model text DEFAULT NULL::text, by_words jsonb DEFAULT NULL::jsonb) RETURNS TABLE(passage_id text, revision bigint, kind text, document text, title text, heading text[], line_from integer, line_to integer, body text, content_hash text, tag text[], audience text[], owned_by text, player text, salience integer, formed_ms bigint, added bigint, score double precision, text_rank bigint, vector_rank bigint, weight double precision, nearness double precision, at_position bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
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
END $_$;


--
-- Name: FUNCTION kb_search(world text, question text, tokens text[], most integer, mode text, as_of bigint, tags text[], kinds text[], owner text, vector real[], model text, by_words jsonb); Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON FUNCTION world.kb_search(world text, question text, tokens text[], most integer, mode text, as_of bigint, tags text[], kinds text[], owner text, vector real[], model text, by_words jsonb) IS 'Search the knowledge base: what these tokens may know as of a position, best first; without a vector by words alone. `score` is how likely a passage answers the question, from 0 to 1: where the best is below 0.5, probably nothing does.';


--
-- Name: grant_to_gateway(); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.grant_to_gateway() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'worldbus_gateway') THEN
        RETURN;
    END IF;
    GRANT USAGE ON SCHEMA world TO worldbus_gateway;
    GRANT SELECT (position, event_id) ON world.events TO worldbus_gateway;
    GRANT SELECT ON world.checkpoint TO worldbus_gateway;
    IF to_regclass('world.real_payments') IS NOT NULL THEN
        GRANT SELECT (world, player, payment_id) ON world.real_payments TO worldbus_gateway;
    END IF;
END $$;


--
-- Name: kb_above(text, text[]); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_above(title text, heading text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT array_to_string(CASE WHEN title = ANY (heading) THEN heading ELSE title || heading END, ' ')
$$;


--
-- Name: kb_breadth(text, text[]); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_breadth(world text, tokens text[]) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$
    SELECT least(max(s.passages) FILTER (WHERE s.kind = 'all'), coalesce(sum(s.passages) FILTER (WHERE s.kind = 'token'), 0))::bigint
      FROM worldbus.search_terms s
     WHERE s.world = kb_breadth.world AND (s.kind = 'all' AND s.term = '' OR s.kind = 'token' AND s.term = ANY (kb_breadth.tokens))
$$;


--
-- Name: kb_by_words(text, text, text[], integer, bigint, text[], text[], text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_by_words(world text, question text, tokens text[], most integer, as_of bigint, tags text[], kinds text[], owner text) RETURNS TABLE(at_position bigint, by_words jsonb)
    LANGUAGE plpgsql STABLE
    SET jit TO 'off'
    AS $$
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
END $$;


--
-- Name: kb_chosen(text[], double precision[], double precision, double precision); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_chosen(terms text[], counts double precision[], total double precision, broad double precision) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
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
END $$;


--
-- Name: kb_depth(integer); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_depth(most integer) RETURNS integer
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT greatest(15, 3 * most) $$;


--
-- Name: kb_exact(text, bigint, text[], text[], text[], text, text, real[], integer); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_exact(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text, model text, vector real[], depth integer) RETURNS TABLE(id text, revision bigint, nearness double precision)
    LANGUAGE plpgsql STABLE
    SET jit TO 'off'
    AS $_$
BEGIN
    RETURN QUERY EXECUTE
        'SELECT p.id, p.revision, -(e.vector OPERATOR(public.<#>) $8::public.halfvec)
           FROM world.passages p JOIN worldbus.embeddings e ON e.model = $7 AND e.content_hash = p.content_hash
          WHERE ' || worldbus.kb_visible() || ' ORDER BY 3 DESC, 1 LIMIT $9'
        USING world, pos, tokens, tags, kinds, owner, model, vector, depth;
END $_$;


--
-- Name: kb_fold(text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_fold(t text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
    SELECT CASE WHEN octet_length(t) = length(t) THEN lower(t COLLATE pg_c_utf8) COLLATE "C" ELSE
        normalize(regexp_replace(replace(replace(replace(
            translate(normalize(casefold(normalize(t, NFKD) COLLATE pg_unicode_fast) COLLATE "C", NFKD),
                'łđðøıħŧŋƒɓɗɖɨʉ' || U&'\00AD\200B\200C\200D\2060\FEFF\0640', 'lddoihtnfbddiu'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'),
        '[\u0300-\u036F\u0591-\u05C7\u0610-\u061A\u064B-\u065F\u0670\u06D6-\u06ED\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\uFE00-\uFE0F\uFE20-\uFE2F]+', '', 'g'),
        NFC) END
$$;


--
-- Name: kb_heaviest(text, bigint, text[], text[], text[], text, text[], double precision[], double precision, text, integer); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_heaviest(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text, terms text[], counts double precision[], total double precision, asked text, depth integer) RETURNS TABLE(id text, revision bigint, weight double precision)
    LANGUAGE plpgsql STABLE
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    AS $_$
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
END $_$;


--
-- Name: kb_likely(text, double precision, double precision); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_likely(how text, nearness double precision, share double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT 1 / (1 + exp(-CASE WHEN how = 'vector' THEN 28 * (coalesce(nearness, 0) - 0.39)
                              WHEN how = 'text' OR nearness IS NULL THEN 32 * (coalesce(share, 0) - 0.2)
                              ELSE 50 * ((nearness + coalesce(share, 0)) / 2 - 0.263) END))
$$;


--
-- Name: kb_near(text, bigint, text[], text[], text[], text, text, real[], integer, integer); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_near(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text, model text, vector real[], depth integer, ef integer) RETURNS TABLE(id text, revision bigint, nearness double precision)
    LANGUAGE plpgsql STABLE
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_sort TO 'off'
    SET enable_material TO 'off'
    SET enable_memoize TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    AS $_$
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
END $_$;


--
-- Name: kb_pairs(text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_pairs(word text) RETURNS bit
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    SELECT bit_or(set_bit(repeat('0', 256)::bit(256), (ascii(substr(w, n, 1)) * 31 + ascii(substr(w, n + apart, 1))) % 256, 1))
      FROM (SELECT '^' || word || '$') x(w), generate_series(1, 2) apart, generate_series(1, length(w) - apart) n
$_$;


--
-- Name: kb_place(text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_place(word text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (hashtext(word) & 536870911) + 1 $$;


--
-- Name: kb_plain(text, boolean); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_plain(t text, asked boolean) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $_$
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
END $_$;


--
-- Name: kb_question(text, text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_question(world text, question text) RETURNS TABLE(terms text[], counts double precision[], total double precision, asked text, most double precision)
    LANGUAGE plpgsql STABLE
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    AS $_$
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
END $_$;


--
-- Name: kb_spelt(text, text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_spelt(world text, question text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    AS $_$
DECLARE
    alike CONSTANT double precision := 0.5; -- of the pairs that either word has, those that both have
    spelt text := question;
    word  text;
    meant text;
    written bit(256);
    known boolean;
BEGIN
    FOR word IN
        SELECT u.lexeme FROM unnest(to_tsvector('pg_catalog.english', left(question, 2000))) u
         WHERE length(u.lexeme) BETWEEN 4 AND 24 AND u.lexeme ~ '^[[:alpha:]]+$'
           AND NOT EXISTS (SELECT FROM worldbus.search_terms s WHERE s.world = kb_spelt.world AND s.kind = 'word' AND s.term = u.lexeme)
         ORDER BY length(u.lexeme) DESC, u.lexeme LIMIT 6
    LOOP
        EXECUTE 'SELECT EXISTS (SELECT FROM world.passages p WHERE p.words @@ $1)' INTO known USING quote_literal(word)::tsquery;
        CONTINUE WHEN known;
        written := worldbus.kb_pairs(word);
        SELECT s.term INTO meant
          FROM worldbus.search_terms s
         WHERE s.world = kb_spelt.world AND s.kind = 'word' AND "left"(s.term, 1) = "left"(word, 1)
           AND length(s.term) BETWEEN length(word) - 2 AND length(word) + 2
           AND bit_count(s.pairs & written) >= alike * bit_count(s.pairs | written)
         ORDER BY bit_count(s.pairs & written)::double precision / bit_count(s.pairs | written) DESC, s.passages DESC, s.term LIMIT 1;
        IF FOUND THEN
            spelt := spelt || ' ' || meant;
        END IF;
    END LOOP;
    RETURN spelt;
END $_$;


--
-- Name: kb_stems(text, text[], text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_stems(title text, heading text[], body text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT strip(to_tsvector('worldbus.words'::regconfig, worldbus.kb_plain(worldbus.kb_above(title, heading) || ' ' || body, false)))
$$;


--
-- Name: kb_term(text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_term(stem text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT '''' || replace(replace(stem, '\', '\\'), '''', '''''') || ''''
$$;


--
-- Name: kb_unspaced(); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_unspaced() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT '\u3005-\u3007\u3031-\u3035\u303B\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3105-\u312F\u31A0-\u31BF\u31F0-\u31FF\u3400-\u4DBF'
        || '\u4E00-\u9FFF\uA000-\uA48C\uAC00-\uD7A3\uF900-\uFAFF\U00020000-\U0003FFFF\u0E01-\u0E3A\u0E40-\u0E4E\u0E81-\u0ECF\u0EDC-\u0EDF'
        || '\u1000-\u103F\u1050-\u109F\uA9E0-\uA9FE\uAA60-\uAA7F\u1780-\u17D3'
$$;


--
-- Name: kb_visible(); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_visible() RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $_$ SELECT $sql$
    p.world = $1 AND p.added <= $2 AND (p.ended IS NULL OR p.ended > $2) AND p.audience && $3
    AND (p.since = '' OR EXISTS (SELECT FROM world.truths t WHERE t.world = p.world AND t.condition = p.since AND t.since <= $2))
    AND (p.player = '' OR NOT EXISTS (SELECT FROM world.strangers s
         WHERE s.world = p.world AND s.owner = p.owner AND s.player = p.player AND s.since > p.added AND s.since <= $2))
    AND ($4::text[] IS NULL OR p.tags && $4) AND ($5::text[] IS NULL OR p.kind = ANY ($5)) AND ($6::text IS NULL OR p.owner = $6)
$sql$ $_$;


--
-- Name: kb_weighed(); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_weighed() RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('world.passages') AND a.attname = 'weights' AND NOT a.attisdropped)
$$;


--
-- Name: kb_weights(text, text[], text); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_weights(title text, heading text[], body text) RETURNS public.sparsevec
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
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
$$;


--
-- Name: kb_weights_of(boolean); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_weights_of(weighed boolean) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN weighed THEN 'coalesce(p.weights, worldbus.kb_weights(p.title, p.heading, p.body))' ELSE 'worldbus.kb_weights(p.title, p.heading, p.body)' END
$$;


--
-- Name: kb_words(text, bigint, text[], text[], text[], text, text, integer); Type: FUNCTION; Schema: worldbus; Owner: -
--

CREATE FUNCTION worldbus.kb_words(world text, pos bigint, tokens text[], tags text[], kinds text[], owner text, question text, depth integer) RETURNS TABLE(id text, revision bigint, weight double precision)
    LANGUAGE plpgsql STABLE
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    AS $_$
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
END $_$;


--
-- Name: english; Type: TEXT SEARCH DICTIONARY; Schema: worldbus; Owner: -
--

CREATE TEXT SEARCH DICTIONARY worldbus.english (
    TEMPLATE = pg_catalog.snowball,
    language = 'english' );


--
-- Name: TEXT SEARCH DICTIONARY english; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON TEXT SEARCH DICTIONARY worldbus.english IS 'English stems of all words, "who" and "not" among them: in questions and headings they mean something.';


--
-- Name: words; Type: TEXT SEARCH CONFIGURATION; Schema: worldbus; Owner: -
--

CREATE TEXT SEARCH CONFIGURATION worldbus.words (
    PARSER = pg_catalog."default" );

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR asciiword WITH worldbus.english;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR word WITH worldbus.english;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR numword WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR email WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR url WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR host WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR sfloat WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR version WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR hword_numpart WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR hword_part WITH worldbus.english;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR hword_asciipart WITH worldbus.english;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR numhword WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR asciihword WITH worldbus.english;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR hword WITH worldbus.english;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR url_path WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR file WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR "float" WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR "int" WITH simple;

ALTER TEXT SEARCH CONFIGURATION worldbus.words
    ADD MAPPING FOR uint WITH simple;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: worldbus_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.worldbus_migrations (
    version character varying NOT NULL
);


--
-- Name: TABLE worldbus_migrations; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.worldbus_migrations IS 'Which migrations of worldbus this database has. Kept by worldbus itself.';


--
-- Name: COLUMN worldbus_migrations.version; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.worldbus_migrations.version IS 'The time at the beginning of the migration''s file name.';


--
-- Name: checkpoint; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.checkpoint (
    one boolean DEFAULT true NOT NULL,
    "position" bigint NOT NULL,
    chain bytea NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    moved_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT checkpoint_one_check CHECK (one),
    CONSTRAINT checkpoint_position_check CHECK (("position" >= 0))
)
WITH (fillfactor='10');


--
-- Name: COLUMN checkpoint.epoch; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.checkpoint.epoch IS 'Moves with every change of worldbus.generations, so that a running projector notices.';


--
-- Name: checkpoint; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.checkpoint AS
 SELECT "position",
    moved_at
   FROM worldbus.checkpoint;


--
-- Name: VIEW checkpoint; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.checkpoint IS 'Everything up to this position is in the views.';


--
-- Name: embedding_models; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.embedding_models (
    model text NOT NULL,
    embedder text NOT NULL,
    dimension integer NOT NULL,
    query_prefix text DEFAULT ''::text NOT NULL,
    passage_prefix text DEFAULT ''::text NOT NULL,
    state text NOT NULL,
    vectors bigint DEFAULT 0 NOT NULL,
    indexed boolean DEFAULT false NOT NULL,
    ef_search integer DEFAULT 100 NOT NULL,
    recall double precision,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    switched_at timestamp with time zone,
    unlike double precision,
    CONSTRAINT embedding_models_dimension_check CHECK (((dimension >= 1) AND (dimension <= 4000))),
    CONSTRAINT embedding_models_state_check CHECK ((state = ANY (ARRAY['filling'::text, 'serving'::text, 'retired'::text])))
);


--
-- Name: COLUMN embedding_models.state; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.embedding_models.state IS 'filling: beside the one that serves; serving: searches use it (at most one); retired: was replaced.';


--
-- Name: COLUMN embedding_models.vectors; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.embedding_models.vectors IS 'How many it had when last counted.';


--
-- Name: COLUMN embedding_models.indexed; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.embedding_models.indexed IS 'Broad searches use its index (HNSW), since that was measured to find what an exact scan finds.';


--
-- Name: COLUMN embedding_models.recall; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.embedding_models.recall IS 'Share of the exact scan''s first ten that the index found when it was last measured, at the audience where it was lowest.';


--
-- Name: COLUMN embedding_models.unlike; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.embedding_models.unlike IS 'Mean cosine of texts that have nothing to do with each other; null while nobody measured it.';


--
-- Name: embedding_models; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.embedding_models AS
 SELECT model,
    embedder,
    dimension,
    query_prefix,
    passage_prefix,
    state,
    vectors,
    indexed,
    ef_search,
    recall,
    created_at,
    switched_at
   FROM worldbus.embedding_models;


--
-- Name: VIEW embedding_models; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.embedding_models IS 'What turns text into vectors: the model that searches use, those that are filled beside it and those that were replaced.';


--
-- Name: events; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.events (
    "position" bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    "time" timestamp with time zone,
    partition integer NOT NULL,
    depth integer,
    world text NOT NULL,
    subsystem text NOT NULL,
    entity text NOT NULL,
    name text NOT NULL,
    type text,
    event_id text,
    cause text,
    correlation text,
    odd_subject bytea,
    raw bytea NOT NULL,
    chain bytea NOT NULL,
    header bytea
);


--
-- Name: TABLE events; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON TABLE worldbus.events IS 'The archive: an independent copy of the log. Columns from type to correlation are null where the envelope cannot be read.';


--
-- Name: COLUMN events."position"; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events."position" IS 'Stream sequence, contiguous from 1.';


--
-- Name: COLUMN events.recorded_at; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events.recorded_at IS 'When the log took it.';


--
-- Name: COLUMN events."time"; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events."time" IS 'When it happened, by its publisher (to the microsecond; raw has nanoseconds).';


--
-- Name: COLUMN events.odd_subject; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events.odd_subject IS 'The stored subject where text cannot hold it (a NUL byte; the columns show U+FFFD there), else null.';


--
-- Name: COLUMN events.chain; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events.chain IS 'sha256(chain of position - 1 || position as 8 bytes || byte length of the stored subject as 4 bytes || stored subject || raw); 32 zero bytes before position 1. Numbers are big-endian. Where there is a header, the length of the subject has its highest bit set, and byte length of the header as 4 bytes || header come before raw.';


--
-- Name: COLUMN events.header; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.events.header IS 'The header lines that are part of the event, as they came: those of a CloudEvent in binary mode. Null for every other event.';


--
-- Name: events; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.events AS
 SELECT "position",
    event_id,
    ((((((('evt.'::text || world) || '.'::text) || subsystem) || '.'::text) || entity) || '.'::text) || name) AS subject,
    partition,
    world,
    subsystem,
    entity,
    name,
    type,
    "time",
    recorded_at,
    cause,
    correlation,
    depth,
    raw,
    chain,
    header
   FROM worldbus.events;


--
-- Name: VIEW events; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.events IS 'The archive: every event of the log, by position.';


--
-- Name: generations; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.generations (
    projection text NOT NULL,
    generation integer NOT NULL,
    version integer NOT NULL,
    schema_name text NOT NULL,
    stopped_at bigint,
    live boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    switched_at timestamp with time zone
);


--
-- Name: COLUMN generations.stopped_at; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.generations.stopped_at IS 'The last position applied; null while it moves in step with the checkpoint.';


--
-- Name: COLUMN generations.live; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.generations.live IS 'The readers'' views show this generation.';


--
-- Name: projections; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.projections AS
 SELECT g.projection,
    g.version,
    g.generation,
    COALESCE(g.stopped_at, c."position") AS "position",
    (g.stopped_at IS NULL) AS in_step,
    g.live,
    g.switched_at
   FROM (worldbus.generations g
     CROSS JOIN worldbus.checkpoint c);


--
-- Name: VIEW projections; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.projections IS 'Every projection: its generations, how far each is, and which one the views show.';


--
-- Name: skipped; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.skipped (
    "position" bigint NOT NULL,
    projection text NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    acknowledged_at timestamp with time zone,
    acknowledged_by text,
    note text
);


--
-- Name: TABLE skipped; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON TABLE worldbus.skipped IS 'Events that a projection could not take in. They stay on record; somebody acknowledges them (`worldbus skipped ack`).';


--
-- Name: COLUMN skipped.projection; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.skipped.projection IS 'Its name, or * when the event itself cannot be read: then nobody decides it either.';


--
-- Name: COLUMN skipped.acknowledged_at; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.skipped.acknowledged_at IS 'When somebody said that they have seen it; null until then.';


--
-- Name: COLUMN skipped.acknowledged_by; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.skipped.acknowledged_by IS 'By whom, as they gave it or as the system knows them: user@host.';


--
-- Name: COLUMN skipped.note; Type: COMMENT; Schema: worldbus; Owner: -
--

COMMENT ON COLUMN worldbus.skipped.note IS 'In their own words: why, and what was done.';


--
-- Name: skipped; Type: VIEW; Schema: world; Owner: -
--

CREATE VIEW world.skipped AS
 SELECT "position",
    projection,
    code,
    reason,
    acknowledged_at,
    acknowledged_by,
    note
   FROM worldbus.skipped;


--
-- Name: VIEW skipped; Type: COMMENT; Schema: world; Owner: -
--

COMMENT ON VIEW world.skipped IS 'Events that a projection could not take in, with the reason.';


--
-- Name: embeddings; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.embeddings (
    model text NOT NULL,
    content_hash text NOT NULL,
    vector public.halfvec NOT NULL
);


--
-- Name: search_terms; Type: TABLE; Schema: worldbus; Owner: -
--

CREATE TABLE worldbus.search_terms (
    world text NOT NULL,
    kind text NOT NULL,
    term text NOT NULL,
    passages bigint NOT NULL,
    pairs bit(256) GENERATED ALWAYS AS (
CASE kind
    WHEN 'word'::text THEN worldbus.kb_pairs(term)
    ELSE NULL::"bit"
END) STORED,
    CONSTRAINT search_terms_kind_check CHECK ((kind = ANY (ARRAY['all'::text, 'word'::text, 'token'::text])))
);


--
-- Name: worldbus_migrations worldbus_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.worldbus_migrations
    ADD CONSTRAINT worldbus_migrations_pkey PRIMARY KEY (version);


--
-- Name: checkpoint checkpoint_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (one);


--
-- Name: embedding_models embedding_models_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.embedding_models
    ADD CONSTRAINT embedding_models_pkey PRIMARY KEY (model);


--
-- Name: embeddings embeddings_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.embeddings
    ADD CONSTRAINT embeddings_pkey PRIMARY KEY (model, content_hash);


--
-- Name: events events_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");


--
-- Name: generations generations_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (projection, generation);


--
-- Name: generations generations_schema_name_key; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.generations
    ADD CONSTRAINT generations_schema_name_key UNIQUE (schema_name);


--
-- Name: search_terms search_terms_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.search_terms
    ADD CONSTRAINT search_terms_pkey PRIMARY KEY (world, kind, term);


--
-- Name: skipped skipped_pkey; Type: CONSTRAINT; Schema: worldbus; Owner: -
--

ALTER TABLE ONLY worldbus.skipped
    ADD CONSTRAINT skipped_pkey PRIMARY KEY ("position", projection);


--
-- Name: events_by_entity; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX events_by_entity ON worldbus.events USING btree (entity, world, "position");


--
-- Name: events_by_id; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX events_by_id ON worldbus.events USING btree (event_id);


--
-- Name: events_by_recorded_at; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX events_by_recorded_at ON worldbus.events USING brin (recorded_at) WITH (pages_per_range='32', autosummarize='on');


--
-- Name: one_live_generation; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE UNIQUE INDEX one_live_generation ON worldbus.generations USING btree (projection) WHERE live;


--
-- Name: one_serving_model; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE UNIQUE INDEX one_serving_model ON worldbus.embedding_models USING btree (state) WHERE (state = 'serving'::text);


--
-- Name: search_words; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX search_words ON worldbus.search_terms USING btree (world, "left"(term, 1), length(term)) WHERE (kind = 'word'::text);


--
-- Name: skipped_open; Type: INDEX; Schema: worldbus; Owner: -
--

CREATE INDEX skipped_open ON worldbus.skipped USING btree ("position") WHERE (acknowledged_at IS NULL);


--
-- PostgreSQL database dump complete
--

\unrestrict dbmate


--
-- Dbmate schema migrations
--

INSERT INTO public.worldbus_migrations (version) VALUES
    ('20261122000001'),
    ('20261122000002'),
    ('20261122000003'),
    ('20261122000004'),
    ('20261130000101'),
    ('20261130000201'),
    ('20261130000301'),
    ('20261130001001');
