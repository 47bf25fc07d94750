-- Statements that the doctor suggests.  It runs none of them itself.  A name in braces is an
-- identifier or a literal.

-- name: terminate
-- End a session; its transaction is rolled back.
SELECT pg_terminate_backend({pid})

-- name: rollback_prepared
-- Roll back a prepared transaction.
ROLLBACK PREPARED {name}

-- name: drop_slot
-- Drop a replication slot; its standby or subscriber must be set up again.
SELECT pg_drop_replication_slot({name})

-- name: vacuum
-- Remove dead rows; reads and writes go on.
VACUUM (ANALYZE) {table}

-- name: vacuum_freeze
-- Freeze old rows; reads and writes go on.
VACUUM (FREEZE) {table}

-- name: vacuum_database
-- Freeze old rows of the whole database.
VACUUM (FREEZE)

-- name: vacuum_full
-- Rewrite a table.  Access exclusive lock: reads and writes wait.
VACUUM (FULL, ANALYZE) {table}

-- name: analyze
-- Gather statistics; reads and writes go on.
ANALYZE {table}

-- name: reindex
-- Rebuild an index; reads and writes go on.
REINDEX INDEX CONCURRENTLY {index}

-- name: drop_index
-- Drop an index; reads and writes go on.
DROP INDEX CONCURRENTLY {index}

-- name: enable_autovacuum
-- Turn autovacuum of a table on again.
ALTER TABLE {table} RESET (autovacuum_enabled)

-- name: set_server
-- Change a setting of the server.
ALTER SYSTEM SET {name} = {value}

-- name: reload
-- Make the server read its settings.
SELECT pg_reload_conf()

-- name: make_logged
-- Make a table survive a crash.  Access exclusive lock while it is rewritten.
ALTER TABLE {table} SET LOGGED

-- name: enable_trigger
-- Enable a trigger.
ALTER TABLE {table} ENABLE TRIGGER {name}

-- name: drop_trigger
-- Drop a trigger.
DROP TRIGGER {name} ON {table}

-- name: restore_storage
-- Restore the row that says which engine takes the writes.
INSERT INTO awa.storage_transition_state (singleton, current_engine, state)
VALUES (true, 'canonical', 'canonical')

-- name: see_all
-- Let a role see the sessions of others.
GRANT pg_read_all_stats TO {role}

-- name: revoke_public
-- Revoke the rights of PUBLIC on a table.
REVOKE ALL ON {table} FROM PUBLIC

-- name: lookup_sessions
-- Count the sessions by role, application and state.
SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC

-- name: revoke_public_function
-- Revoke the right of PUBLIC to call a function.
REVOKE ALL ON FUNCTION {function} FROM PUBLIC

-- name: replica_identity
-- Set the replica identity of a table.  Access exclusive lock, for an instant.
ALTER TABLE {table} REPLICA IDENTITY {how}

-- name: restart_schedule
-- Make a schedule fire from now on.
UPDATE awa.cron_jobs SET last_enqueued_at = date_trunc('second', now()) WHERE name = {name}

-- name: add_primary_key
-- Restore a primary key.  Access exclusive lock while the index is built.
ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY ({keys})

-- name: show_sequence
-- Show the sequence of job ids.
SELECT * FROM pg_sequences WHERE schemaname = 'awa'

-- name: set_sequence
-- Make a sequence go on after the highest id in use.
SELECT setval({sequence}, {highest})

-- name: set_default
-- Restore the default of a column of ids.
ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval({sequence})

-- name: add_constraint
-- Restore a constraint without reading the table.  Access exclusive lock, for an instant.
ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID

-- name: validate_constraint
-- Check all rows against a constraint.  Takes a lock that lets changes pass.
ALTER TABLE {table} VALIDATE CONSTRAINT {name}

-- name: leave_extension
-- Take an object out of an extension.
ALTER EXTENSION {extension} DROP {object}

-- name: disable_subscription
-- Stop a subscription.
ALTER SUBSCRIPTION {name} DISABLE

-- name: create_schema
-- In the first scripts.  A role that got its schema from an administrator leaves it out.
CREATE SCHEMA IF NOT EXISTS awa
