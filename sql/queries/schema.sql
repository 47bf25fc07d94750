-- The statements of the migrator.  Its scripts are in sql/migrations.

-- name: schema_presence
-- Which ledgers exist, whether there are job tables, and the encoding of the database.  No lock.
SELECT to_regclass('awa.schema_version') IS NOT NULL AS canonical,
       to_regclass('awa.toolkit_migrations') IS NOT NULL AS ledger,
       to_regclass('awa.jobs_hot') IS NOT NULL OR to_regclass('awa.jobs') IS NOT NULL AS jobs,
       current_setting('server_encoding') AS encoding, current_database()::text AS database

-- name: canonical_versions
-- Versions of the canonical track, in order.
SELECT version FROM awa.schema_version ORDER BY version

-- name: toolkit_versions
-- Versions of the toolkit track, in order, and which of them must be applied again.
SELECT version, name, breaking, applied_at = 'epoch' AS again
FROM awa.toolkit_migrations ORDER BY version

-- name: mark_toolkit
-- Mark all of the toolkit track but the ledger itself to be applied again.  The rows stay, so that
-- workers start meanwhile: the objects of the scripts exist.  Locks the rows.
UPDATE awa.toolkit_migrations SET applied_at = 'epoch' WHERE version > 0

-- name: forget_mark
-- Delete the marked row of a script, in the transaction in which the script inserts its row again.
DELETE FROM awa.toolkit_migrations WHERE version = :version::int AND applied_at = 'epoch'

-- name: index_definition
-- Whether an index can be used, and its definition, whose text does not depend on search_path.
-- Share lock on its table until the end of the statement.
SELECT x.indisvalid AND x.indisready AS usable,
       replace(pg_get_indexdef(x.indexrelid), 'awa.', '') AS definition
FROM pg_catalog.pg_index AS x
JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
WHERE i.relnamespace = to_regnamespace('awa') AND i.relname = :name::text

-- name: drop_index
-- Drop an index.  A name in braces, here and below, is an identifier.  Share update exclusive lock;
-- waits for the transactions that use the table.
DROP INDEX CONCURRENTLY IF EXISTS {index}

-- name: rename_index
-- Rename an index.  Share update exclusive lock for an instant; statements continue to use the
-- index.
ALTER INDEX {index} RENAME TO {to}

-- name: drop_dequeue_index
-- Drop the index by which workers of awa 0.5 claim.  Share update exclusive lock; waits for the
-- transactions that use the table.
DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_jobs_hot_dequeue

-- name: create_dequeue_index
-- Make it again, as script V1 does.  Share update exclusive lock; waits for older transactions.
CREATE INDEX CONCURRENTLY idx_awa_jobs_hot_dequeue
    ON awa.jobs_hot (queue, priority, run_at, id) WHERE state = 'available'

-- name: try_migration_lock
-- Take the migration lock for the session, if it is free.  Polled, never waited for: a session
-- that waits in a statement holds a snapshot, and a concurrent index build of the lock's holder
-- waits for that snapshot.
SELECT pg_try_advisory_lock(:key::bigint) AS locked

-- name: migration_unlock
-- Release the migration lock.
SELECT pg_advisory_unlock(:key::bigint) AS unlocked

-- name: migration_lock_holder
-- The session that holds a migration lock; pg_locks shows the high and the low half of the key.
SELECT a.pid, a.usename::text AS username, a.application_name, a.backend_start
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.classid = (:key::bigint >> 32)::oid AND l.objid = (:key::bigint & 4294967295)::oid
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())

-- name: schema_exists
-- Whether there is a schema, whoever made it.
SELECT to_regnamespace('awa') IS NOT NULL

-- name: missing_right
-- What a role that migrates may lack: the schema and the right to make it, or the right to create
-- in it, each as the statement that gives it; and the owner of a table that is not the role's.
SELECT current_user::text AS role, current_database()::text AS database,
       CASE WHEN to_regnamespace('awa') IS NULL
                 AND NOT has_database_privilege(current_database(), 'CREATE')
            THEN format('CREATE SCHEMA awa AUTHORIZATION %I', current_user) END AS made,
       CASE WHEN NOT has_schema_privilege(to_regnamespace('awa'), 'CREATE')
            THEN format('GRANT USAGE, CREATE ON SCHEMA awa TO %I', current_user) END AS granted,
       (SELECT r.rolname::text
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
        WHERE c.relnamespace = to_regnamespace('awa')
          AND NOT pg_has_role(c.relowner, 'USAGE')
        ORDER BY c.relname
        LIMIT 1) AS owner

-- name: oldest_transaction
-- The transaction that most likely blocks a migration: first those with a lock on the schema's
-- tables, then the oldest.
SELECT a.pid, a.usename::text AS username, a.application_name,
       round(extract(epoch FROM clock_timestamp() - a.xact_start))::bigint AS age_seconds
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = current_database()
  AND a.pid <> pg_backend_pid()
  AND a.xact_start IS NOT NULL
ORDER BY EXISTS (
             SELECT FROM pg_catalog.pg_locks AS l
             JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
             WHERE l.pid = a.pid AND l.granted
               AND c.relnamespace = to_regnamespace('awa')
         ) DESC,
         a.xact_start
LIMIT 1

-- name: read_timeouts
-- The timeouts of the session, to restore them afterwards.
SELECT current_setting('lock_timeout') AS lock_timeout,
       current_setting('statement_timeout') AS statement_timeout

-- name: set_timeouts
-- Set the timeouts of the session.  Not by start-up parameters, which a pooler may refuse.
SELECT set_config('lock_timeout', :lock_timeout::text, false) AS lock_timeout,
       set_config('statement_timeout', :statement_timeout::text, false) AS statement_timeout

-- name: deadlock_timeout
-- How long a session waits for a lock before the server looks for a deadlock, in milliseconds.
SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'

-- name: refresh_counts
-- Fill the cached counts after a migration.  Reads both job tables.
SELECT awa.refresh_admin_metadata()
