-- Run once on a new embedded Postgres, in template1, by the superuser: what only a superuser can set up. The roles' passwords and settings are
-- those of roles.sql, at every start; everything else is a migration.

CREATE EXTENSION vector;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- Functions that a read-only transaction still allows and that could hold up others (docs/adr/0020). Per database, so they are
-- taken away in the template. The owner keeps them.
CREATE ROLE worldbus_owner;
CREATE ROLE worldbus_reader;
CREATE ROLE worldbus_gateway;
GRANT ALL ON SCHEMA public TO worldbus_owner;
GRANT USAGE ON SCHEMA public TO worldbus_reader;
DO $body$
DECLARE
  routine regprocedure;
BEGIN
  FOR routine IN
    SELECT oid::regprocedure FROM pg_proc
     WHERE pronamespace = 'pg_catalog'::regnamespace
       AND (proname LIKE 'pg\_advisory%lock%' OR proname LIKE 'pg\_try\_advisory%' OR proname LIKE 'pg\_sleep%' OR proname LIKE 'lo\_%'
            OR proname IN ('pg_notify', 'pg_logical_emit_message'))
       AND proname <> 'pg_advisory_unlock_all'  -- drivers call it when a pooled connection comes back
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO worldbus_owner', routine);
  END LOOP;
END
$body$;

CREATE DATABASE worldbus OWNER worldbus_owner;
REVOKE ALL ON DATABASE worldbus FROM PUBLIC;
GRANT CONNECT ON DATABASE worldbus TO worldbus_reader, worldbus_gateway;
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;
