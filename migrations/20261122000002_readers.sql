-- migrate:up

-- Readers see the views of schema `world` and nothing else. READ ONLY and statement_timeout can be lifted by the role itself (SET), so they are no
-- boundary; missing rights are. Whatever lets a SELECT write, wait, lock or signal is taken away from PUBLIC in this database.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'worldbus_reader') THEN
        CREATE ROLE worldbus_reader LOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server was migrated at the same moment
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'worldbus needs the role worldbus_reader, and % may not create roles: run CREATE ROLE worldbus_reader LOGIN as an administrator, then migrate again', current_user;
END $$;

DO $$
DECLARE
    setting text;
BEGIN
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO worldbus_reader', current_database());
    FOREACH setting IN ARRAY ARRAY[
        'default_transaction_read_only = on', 'statement_timeout = ''5s''', 'lock_timeout = ''2s''', 'idle_in_transaction_session_timeout = ''5s''',
        'search_path = world', 'temp_file_limit = ''64MB'''
    ] LOOP
        BEGIN
            EXECUTE format('ALTER ROLE worldbus_reader IN DATABASE %I SET %s', current_database(), setting);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'not allowed here: ALTER ROLE worldbus_reader SET % (an administrator should)', setting;
        END;
    END LOOP;
END $$;

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN
        SELECT oid::regprocedure FROM pg_proc
         WHERE pronamespace = 'pg_catalog'::regnamespace
           AND (proname IN ('set_config', 'pg_notify', 'pg_cancel_backend', 'pg_terminate_backend', 'pg_logical_emit_message', 'pg_export_snapshot')
                OR proname LIKE 'pg\_sleep%' OR proname LIKE 'pg\_%advisory%' OR proname LIKE 'lo\_%' OR proname IN ('loread', 'lowrite'))
         ORDER BY 1
    LOOP
        BEGIN
            IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO CURRENT_USER', f);
            END IF;
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'not allowed here: REVOKE EXECUTE ON FUNCTION % FROM PUBLIC (an administrator should)', f;
        END;
    END LOOP;
END $$;

-- `sql --as-of` asks with the rights of a reader on the owner's connection.
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'worldbus_reader', 'SET') THEN
        GRANT worldbus_reader TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'not allowed here: GRANT worldbus_reader TO % (an administrator should, for sql --as-of)', current_user;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA world TO worldbus_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA world TO worldbus_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA world GRANT SELECT ON TABLES TO worldbus_reader;

-- migrate:down
ALTER DEFAULT PRIVILEGES IN SCHEMA world REVOKE SELECT ON TABLES FROM worldbus_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA world FROM worldbus_reader;
REVOKE ALL ON SCHEMA world FROM worldbus_reader;
