-- Statements that the doctor tells people to run.  It runs none of them itself.  What is in braces is
-- an identifier or a literal.

-- name: terminate
-- End a session; its transaction is rolled back.
SELECT pg_terminate_backend({pid})

-- name: rollback_prepared
-- Give up a prepared transaction.
ROLLBACK PREPARED {name}

-- name: drop_slot
-- Give up a replication slot; its standby or subscriber must be made anew.
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
-- Write a table anew.  Nobody can read or write it meanwhile.
VACUUM (FULL, ANALYZE) {table}

-- name: analyze
-- Gather statistics; reads and writes go on.
ANALYZE {table}

-- name: reindex
-- Build an index anew; reads and writes go on.
REINDEX INDEX CONCURRENTLY {index}

-- name: drop_index
-- Drop an index; reads and writes go on.
DROP INDEX CONCURRENTLY {index}

-- name: enable_autovacuum
-- Let autovacuum see to a table again.
ALTER TABLE {table} RESET (autovacuum_enabled)

-- name: set_server
-- Change a setting of the server.
ALTER SYSTEM SET {name} = {value}

-- name: reload
-- Have the server read its settings.
SELECT pg_reload_conf()

-- name: make_logged
-- Make a table survive a crash.  Locks it while it is written anew.
ALTER TABLE {table} SET LOGGED

-- name: enable_trigger
-- Let a trigger fire again.
ALTER TABLE {table} ENABLE TRIGGER {name}

-- name: drop_trigger
-- Drop a trigger.
DROP TRIGGER {name} ON {table}

-- name: restore_storage
-- Put back the row that says which engine takes the writes.
INSERT INTO awa.storage_transition_state (singleton, current_engine, state)
VALUES (true, 'canonical', 'canonical')

-- name: see_all
-- Let a role see the sessions of others.
GRANT pg_read_all_stats TO {role}

-- name: revoke_public
-- Take back what everybody may do.
REVOKE ALL ON {table} FROM PUBLIC

-- name: lookup_sessions
-- Who holds the connections.
SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC

-- name: revoke_public_function
-- Take back that everybody may call a function.
REVOKE ALL ON FUNCTION {function} FROM PUBLIC

-- name: replica_identity
-- Say which row was meant to who reads the changes.  Locks the table for an instant.
ALTER TABLE {table} REPLICA IDENTITY {how}

-- name: restart_schedule
-- Have a schedule fire from now on.
UPDATE awa.cron_jobs SET last_enqueued_at = date_trunc('second', now()) WHERE name = {name}

-- name: add_primary_key
-- Put back a primary key.  Locks the table while it is built.
ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY ({keys})

-- name: show_sequence
-- What ids are given out.
SELECT * FROM pg_sequences WHERE schemaname = 'awa'
