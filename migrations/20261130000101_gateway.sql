-- migrate:up

-- The gateway asks which ids are taken, how far the archive is, and whose a payment is; it needs nothing else, and no reader can change its
-- password or use up its connections. Where the role cannot be made, an administrator may make it later: docs/how-to/run-on-your-own-servers.md.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'worldbus_gateway') THEN
        CREATE ROLE worldbus_gateway LOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server was migrated at the same moment
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'not allowed here: CREATE ROLE worldbus_gateway LOGIN (an administrator may; the gateway works as worldbus_reader too)';
END $$;

-- What the gateway may see, if the role is there. Run by the migration, and again whenever a projection's views are shown.
CREATE FUNCTION worldbus.grant_to_gateway() RETURNS void LANGUAGE plpgsql AS $fn$
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
END $fn$;

DO $$
DECLARE
    setting text;
BEGIN
    PERFORM worldbus.grant_to_gateway();
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'worldbus_gateway') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO worldbus_gateway', current_database());
    FOREACH setting IN ARRAY ARRAY[
        'default_transaction_read_only = on', 'statement_timeout = ''5s''', 'lock_timeout = ''2s''', 'idle_in_transaction_session_timeout = ''5s''',
        'search_path = world', 'temp_file_limit = ''64MB'''
    ] LOOP
        BEGIN
            EXECUTE format('ALTER ROLE worldbus_gateway IN DATABASE %I SET %s', current_database(), setting);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'not allowed here: ALTER ROLE worldbus_gateway SET % (an administrator should)', setting;
        END;
    END LOOP;
END $$;

-- Whoever may look into the schema might call it, with the rights of its owner: readers may, as before.
REVOKE EXECUTE ON FUNCTION world.kb_search FROM PUBLIC;

-- Drivers call it when a pooled connection comes back; it can only give up locks of one's own session.
DO $$
BEGIN
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all() TO PUBLIC;
EXCEPTION WHEN insufficient_privilege THEN
    NULL; -- who may not grant it did not take it away either
END $$;

-- The one table that tools list beside the views: it can be read, and says what it is. (Its place is fixed: earlier releases look for it there.)
GRANT USAGE ON SCHEMA public TO worldbus_reader;
GRANT SELECT ON public.worldbus_migrations TO worldbus_reader;
COMMENT ON TABLE public.worldbus_migrations IS 'Which migrations of worldbus this database has. Kept by worldbus itself.';
COMMENT ON COLUMN public.worldbus_migrations.version IS 'The time at the beginning of the migration''s file name.';

-- migrate:down
REVOKE SELECT ON public.worldbus_migrations FROM worldbus_reader;
GRANT EXECUTE ON FUNCTION world.kb_search TO PUBLIC;
DROP FUNCTION worldbus.grant_to_gateway;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'worldbus_gateway') THEN
        REVOKE ALL ON ALL TABLES IN SCHEMA world FROM worldbus_gateway;
        REVOKE ALL ON SCHEMA world FROM worldbus_gateway;
    END IF;
END $$;
