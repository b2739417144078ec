-- migrate:up

-- Words as somebody meant them who misspelt them. Whoever types a question makes mistakes, and a word that stands nowhere finds nothing.
-- Which letters stand beside each other in a word, or have one between them, its beginning and its end among them, as bits: letters that
-- are left out, doubled or exchanged leave most of these pairs, and thousands of words are compared in a millisecond.
CREATE FUNCTION worldbus.kb_pairs(word text) RETURNS bit(256) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    SELECT bit_or(set_bit(repeat('0', 256)::bit(256), (ascii(substr(w, n, 1)) * 31 + ascii(substr(w, n + apart, 1))) % 256, 1))
      FROM (SELECT '^' || word || '$') x(w), generate_series(1, 2) apart, generate_series(1, length(w) - apart) n
$fn$;

ALTER TABLE worldbus.search_terms ADD COLUMN pairs bit(256) GENERATED ALWAYS AS (CASE kind WHEN 'word' THEN worldbus.kb_pairs(term) END) STORED;
CREATE INDEX search_words ON worldbus.search_terms (world, "left"(term, 1), length(term)) WHERE kind = 'word';

-- The question, and behind it for each of its words that stands in no passage the one of the common words that is most like it, if any is.
-- It says nothing of who may know what: what is found by these words has to be visible like everything else.
CREATE FUNCTION worldbus.kb_spelt(world text, question text) RETURNS text
LANGUAGE plpgsql STABLE SET jit = off SET enable_seqscan = off AS $fn$
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
END $fn$;

CREATE OR REPLACE FUNCTION worldbus.kb_by_words(world text, question text, tokens text[], most integer, as_of bigint, tags text[], kinds text[], owner text)
RETURNS TABLE (at_position bigint, by_words jsonb)
LANGUAGE sql STABLE AS $fn$
    SELECT c.pos, (SELECT coalesce(pg_catalog.jsonb_agg(w), '[]')
                     FROM worldbus.kb_words(kb_by_words.world, c.pos, kb_by_words.tokens, kb_by_words.tags, kb_by_words.kinds, kb_by_words.owner,
                                            worldbus.kb_spelt(kb_by_words.world, kb_by_words.question), worldbus.kb_depth(kb_by_words.most)) w)
      FROM (SELECT coalesce(kb_by_words.as_of, k.position) AS pos FROM worldbus.checkpoint k) c
$fn$;

-- migrate:down
CREATE OR REPLACE FUNCTION worldbus.kb_by_words(world text, question text, tokens text[], most integer, as_of bigint, tags text[], kinds text[], owner text)
RETURNS TABLE (at_position bigint, by_words jsonb)
LANGUAGE sql STABLE AS $fn$
    SELECT c.pos, (SELECT coalesce(pg_catalog.jsonb_agg(w), '[]')
                     FROM worldbus.kb_words(kb_by_words.world, c.pos, kb_by_words.tokens, kb_by_words.tags, kb_by_words.kinds, kb_by_words.owner,
                                            kb_by_words.question, worldbus.kb_depth(kb_by_words.most)) w)
      FROM (SELECT coalesce(kb_by_words.as_of, k.position) AS pos FROM worldbus.checkpoint k) c
$fn$;
DROP FUNCTION worldbus.kb_spelt;
DROP INDEX worldbus.search_words;
ALTER TABLE worldbus.search_terms DROP COLUMN pairs;
DROP FUNCTION worldbus.kb_pairs;
