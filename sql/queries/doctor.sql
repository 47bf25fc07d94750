-- What the doctor looks at.  No lock; catalogs, statistics and small tables, and partial indexes of
-- the job tables.

-- name: columns
-- Columns of the tables and views of the schema.
SELECT c.relname::text AS table_name, a.attname::text AS name,
       format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind IN ('r', 'p', 'v')
ORDER BY c.relname COLLATE "C", a.attnum

-- name: indexes
-- Indexes of the schema: what they cover, and whether they can be used.
SELECT i.relname::text AS name, t.relname::text AS table_name, x.indisunique AS is_unique,
       x.indpred IS NOT NULL AS is_partial, am.amname::text AS method,
       ARRAY(SELECT pg_get_indexdef(x.indexrelid, n, true)
             FROM generate_series(1, x.indnkeyatts) AS n) AS keys,
       x.indisvalid AND x.indisready AS usable
FROM pg_index AS x
JOIN pg_class AS i ON i.oid = x.indexrelid
JOIN pg_class AS t ON t.oid = x.indrelid
JOIN pg_am AS am ON am.oid = i.relam
WHERE t.relnamespace = 'awa'::regnamespace AND t.relkind IN ('r', 'p')
ORDER BY i.relname COLLATE "C"

-- name: functions
-- Functions of the schema, with a digest of their source.
SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
       md5(btrim(p.prosrc, E' \n\t')) AS digest
FROM pg_proc AS p
WHERE p.pronamespace = 'awa'::regnamespace
ORDER BY 1 COLLATE "C"

-- name: triggers
-- Triggers of the schema's tables and views.
SELECT c.relname || '.' || t.tgname AS name, t.tgenabled <> 'D' AS enabled
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'awa'::regnamespace AND NOT t.tgisinternal
ORDER BY 1 COLLATE "C"

-- name: tables
-- How well the tables are kept.  The threshold is the one autovacuum goes by.
SELECT c.relname::text AS name, c.relpersistence = 'u' AS unlogged,
       coalesce(s.n_live_tup, 0) AS live, coalesce(s.n_dead_tup, 0) AS dead,
       coalesce(s.n_mod_since_analyze, 0) AS changed,
       s.last_analyze IS NULL AND s.last_autoanalyze IS NULL AS never_analyzed,
       greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at,
       pg_total_relation_size(c.oid) AS bytes,
       age(c.relfrozenxid) AS frozen_age,
       coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions)
                 WHERE option_name = 'autovacuum_enabled'), true) AS autovacuum,
       coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
                 WHERE option_name = 'autovacuum_vacuum_threshold'),
                current_setting('autovacuum_vacuum_threshold')::float8)
       + greatest(c.reltuples, 0)
         * coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
                     WHERE option_name = 'autovacuum_vacuum_scale_factor'),
                    current_setting('autovacuum_vacuum_scale_factor')::float8) AS threshold,
       now() AS now
FROM pg_class AS c
LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind = 'r'
ORDER BY c.relname COLLATE "C"

-- name: server
-- The server's settings and connections, the clock, the user.
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,
       current_setting('fsync')::boolean AS fsync,
       current_setting('full_page_writes')::boolean AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('autovacuum')::boolean AS autovacuum,
       current_setting('track_counts')::boolean AS track_counts,
       current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int AS reserved,
       (SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' OR backend_type IS NULL) AS connections,
       current_setting('max_prepared_transactions')::int AS max_prepared,
       r.rolname::text AS role, r.rolsuper AS superuser,
       pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all

FROM pg_roles AS r
WHERE r.rolname = current_user

-- name: pins
-- What keeps dead rows from being removed: the transaction, slot or standby that sees the oldest.
SELECT kind, name, pid, extract(epoch FROM now() - since)::float8 AS seconds, age, what
FROM (
    SELECT 'transaction' AS kind, coalesce(application_name, '') || ' ' || coalesce(usename::text, '')
               AS name, pid, xact_start AS since, age(backend_xmin) AS age, left(query, 80) AS what
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND xact_start < now() - interval '5 minutes'
      AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    UNION ALL
    SELECT 'prepared transaction', gid, NULL, prepared, age(transaction), NULL
    FROM pg_prepared_xacts WHERE prepared < now() - interval '5 minutes'
    UNION ALL
    SELECT 'replication slot', slot_name::text, active_pid, NULL,
           greatest(age(xmin), age(catalog_xmin)), slot_type
    FROM pg_replication_slots WHERE greatest(age(xmin), age(catalog_xmin)) > 100000
    UNION ALL
    SELECT 'standby', application_name, pid, NULL, age(backend_xmin), client_addr::text
    FROM pg_stat_replication WHERE age(backend_xmin) > 100000
) AS pins
ORDER BY age DESC NULLS LAST
LIMIT 5

-- name: stuck
-- Attempts that nobody seems to run, waits that are over, and jobs that are due and not promoted.
-- Partial indexes heartbeat, deadline, callback_timeout, run_at_scheduled, run_at_retryable.
SELECT (SELECT count(*) FROM awa.jobs_hot
        WHERE state = 'running' AND heartbeat_at < now() - interval '4 minutes') AS silent,
       (SELECT min(id) FROM awa.jobs_hot
        WHERE state = 'running' AND heartbeat_at < now() - interval '4 minutes') AS silent_id,
       (SELECT count(*) FROM awa.jobs_hot
        WHERE state = 'running' AND deadline_at < now() - interval '3 minutes') AS overdue,
       (SELECT count(*) FROM awa.jobs_hot
        WHERE state = 'running' AND heartbeat_at IS NULL
          AND attempted_at < now() - interval '5 minutes') AS orphaned,
       (SELECT count(*) FROM awa.jobs_hot
        WHERE state = 'waiting_external' AND callback_timeout_at < now() - interval '3 minutes')
           AS expired,
       (SELECT count(*) FROM awa.scheduled_jobs
        WHERE state = 'scheduled' AND run_at < now() - interval '1 minute')
       + (SELECT count(*) FROM awa.scheduled_jobs
          WHERE state = 'retryable' AND run_at < now() - interval '1 minute') AS unpromoted

-- name: unworked
-- Kinds and queues with jobs that could have run for a minute; index dequeue.
SELECT queue, kind, count(*) AS jobs,
       extract(epoch FROM now() - min(run_at))::float8 AS lag_seconds
FROM awa.jobs_hot
WHERE state = 'available' AND run_at < now() - interval '1 minute'
GROUP BY queue, kind
ORDER BY count(*) DESC
LIMIT 200

-- name: paused
-- Names of paused queues.
SELECT queue FROM awa.queue_meta WHERE paused ORDER BY queue

-- name: counts
-- The id sequence, open bulk operations, dead letters.
SELECT (SELECT last_value FROM pg_sequences
        WHERE schemaname = 'awa' AND sequencename = 'jobs_id_seq') AS last_id,
       (SELECT max_value FROM pg_sequences
        WHERE schemaname = 'awa' AND sequencename = 'jobs_id_seq') AS max_id,
       (SELECT count(*) FROM awa.bulk_operations
        WHERE state IN ('pending', 'running') AND submitted_at < now() - interval '10 minutes')
           AS open_batches,
       now() AS now

-- name: grants
-- What each role but the owner may do with each table; the public role is called PUBLIC.
SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END AS role,
       c.relname::text AS table_name, array_agg(g.privilege_type::text ORDER BY g.privilege_type) AS privileges
FROM pg_class AS c
CROSS JOIN LATERAL aclexplode(c.relacl) AS g
WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind IN ('r', 'v') AND g.grantee <> c.relowner
GROUP BY 1, 2
ORDER BY 1, 2

-- name: powerful
-- Superusers that are connected as workers.
SELECT DISTINCT a.usename::text AS role
FROM pg_stat_activity AS a
JOIN pg_roles AS r ON r.rolname = a.usename
WHERE r.rolsuper AND a.application_name LIKE 'awa-worker%'
ORDER BY 1
