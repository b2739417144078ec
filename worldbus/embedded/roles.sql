-- Run at every start of an embedded Postgres, in its database `postgres`, by the superuser. A role may always change its own password and its
-- own settings: what one of them did to itself ends with the next start. :x_password is filled in by worldbus, worldbus_x being the role.

DO $body$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['worldbus_owner', 'worldbus_reader', 'worldbus_gateway'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I', name);
    END IF;
    EXECUTE format('ALTER ROLE %I RESET ALL', name);
    IF EXISTS (SELECT FROM pg_database WHERE datname = 'worldbus') THEN
      EXECUTE format('ALTER ROLE %I IN DATABASE worldbus RESET ALL', name);
    END IF;
  END LOOP;
END
$body$;

ALTER ROLE worldbus_owner LOGIN PASSWORD :owner_password CONNECTION LIMIT -1;
ALTER ROLE worldbus_reader LOGIN PASSWORD :reader_password CONNECTION LIMIT 16;
ALTER ROLE worldbus_gateway LOGIN PASSWORD :gateway_password CONNECTION LIMIT 32;
GRANT worldbus_reader TO worldbus_owner WITH INHERIT FALSE, SET TRUE;

-- temp_file_limit cannot be lifted by the role itself; the others are defaults that a session may change.
ALTER ROLE worldbus_owner SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE worldbus_reader SET temp_file_limit = '64MB';
ALTER ROLE worldbus_reader SET search_path = world, public;
ALTER ROLE worldbus_reader SET default_transaction_read_only = on;
ALTER ROLE worldbus_reader SET statement_timeout = '5s';
ALTER ROLE worldbus_reader SET lock_timeout = '1s';
ALTER ROLE worldbus_reader SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE worldbus_gateway SET temp_file_limit = '64MB';
ALTER ROLE worldbus_gateway SET search_path = world;
ALTER ROLE worldbus_gateway SET default_transaction_read_only = on;
ALTER ROLE worldbus_gateway SET statement_timeout = '5s';
ALTER ROLE worldbus_gateway SET lock_timeout = '2s';
ALTER ROLE worldbus_gateway SET idle_in_transaction_session_timeout = '5s';
