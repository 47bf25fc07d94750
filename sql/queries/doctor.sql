-- The facts of the doctor.  Its statements change nothing, take the locks of any read, and work on
-- a standby.  They read catalogs, statistics and small tables; of the job tables only partial
-- indexes, and of each a bounded number of entries, so that the cost does not grow with the number
-- of jobs.

-- name: set_timeouts
-- Limit the statement that follows, until the end of the transaction.
SELECT set_config('statement_timeout', :statement_ms::text, true),
       set_config('lock_timeout', :lock_ms::text, true)

-- name: columns
-- Columns of the tables and views of the schema.
SELECT c.relname::text AS table_name, a.attname::text AS name,
       format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
       a.atthasdef OR a.attidentity <> '' AS has_default
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind IN ('r', 'p', 'v')
ORDER BY c.relname COLLATE "C", a.attnum

-- name: indexes
-- Indexes of the schema: their columns, and whether they can be used.  A key that is an expression
-- has the name expr: printing it would wait for a lock.
SELECT i.relname::text AS name, t.relname::text AS table_name, x.indisunique AS is_unique,
       x.indpred IS NOT NULL AS is_partial, am.amname::text AS method,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = i.oid AND a.attnum <= x.indnkeyatts ORDER BY a.attnum) AS keys,
       x.indisvalid AND x.indisready AS usable
FROM pg_catalog.pg_index AS x
JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
JOIN pg_catalog.pg_am AS am ON am.oid = i.relam
WHERE t.relnamespace = 'awa'::regnamespace AND t.relkind IN ('r', 'p')
ORDER BY i.relname COLLATE "C"

-- name: dequeue_index
-- Whether the dequeue index can be used, and how many jobs were inserted since the statistics began.
SELECT coalesce((SELECT x.indisvalid FROM pg_catalog.pg_index AS x
                 WHERE x.indexrelid = to_regclass('awa.idx_awa_jobs_hot_dequeue')), false) AS there,
       coalesce(pg_stat_get_tuples_inserted(to_regclass('awa.jobs_hot')), 0) AS inserted

-- name: constraints
-- Checks and foreign keys of the schema's tables; indexes stand for keys, columns for NOT NULL.
-- Printing a definition would wait for a lock.
SELECT c.relname::text AS table_name, k.conname::text AS name, k.convalidated AS valid
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
WHERE c.relnamespace = 'awa'::regnamespace AND k.contype IN ('c', 'f')
ORDER BY c.relname COLLATE "C", k.conname COLLATE "C"

-- name: functions
-- Functions of the schema, with a digest of their source.
SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
       md5(btrim(p.prosrc, E' \n\r\t')) AS digest
FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace = 'awa'::regnamespace
ORDER BY p.proname COLLATE "C", 1

-- name: triggers
-- Triggers of the schema's tables and views.
SELECT c.relname::text AS table_name, t.tgname::text AS name, p.proname::text AS function,
       t.tgenabled IN ('O', 'A') AS enabled
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE c.relnamespace = 'awa'::regnamespace AND NOT t.tgisinternal
ORDER BY c.relname COLLATE "C", t.tgname COLLATE "C"

-- name: server
-- The server's settings and connections, and the role of this session.
SELECT current_setting('fsync')::boolean AS fsync,
       current_setting('full_page_writes')::boolean AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('autovacuum')::boolean AS autovacuum,
       current_setting('track_counts')::boolean AS track_counts,
       pg_is_in_recovery() AS standby,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0) AS slots,
       (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::int AS connections,
       pg_notification_queue_usage() AS notify_usage,
       d.datname::text AS database, age(d.datfrozenxid) AS frozen_age,
       current_user::text AS role, pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
FROM pg_catalog.pg_database AS d
WHERE d.datname = current_database()

-- name: clock
-- The server's time.
SELECT extract(epoch FROM clock_timestamp())::float8 AS now

-- name: backend
-- The server process of this connection; behind a transaction pooler it changes.
SELECT pg_backend_pid() AS pid

-- name: tables
-- Sizes, dead rows and vacuum settings of the tables.  The threshold is that of autovacuum;
-- row_bytes is the size of a row by the statistics, NULL without them.  The size is that of the
-- last VACUUM or ANALYZE: reading the current one waits for locks.
SELECT c.relname::text AS name, c.relpersistence = 'u' AS unlogged, c.reltuples::float8 AS rows,
       coalesce(s.n_dead_tup, 0) AS dead, coalesce(s.n_mod_since_analyze, 0) AS changed,
       CASE WHEN c.reltuples < 0 THEN pg_relation_size(c.oid)
            ELSE c.relpages * current_setting('block_size')::bigint END AS bytes,
       w.width + 28 AS row_bytes,
       has_table_privilege(c.oid, 'SELECT') AS readable, age(c.relfrozenxid) AS frozen_age,
       coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions)
                 WHERE option_name = 'autovacuum_enabled'), true) AS autovacuum,
       coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
                 WHERE option_name = 'autovacuum_vacuum_threshold'),
                current_setting('autovacuum_vacuum_threshold')::float8)
           + greatest(c.reltuples, 0)
           * coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
                       WHERE option_name = 'autovacuum_vacuum_scale_factor'),
                      current_setting('autovacuum_vacuum_scale_factor')::float8) AS threshold
FROM pg_catalog.pg_class AS c
LEFT JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid
CROSS JOIN LATERAL (
    SELECT sum(avg_width)::int AS width FROM pg_catalog.pg_stats
    WHERE schemaname = 'awa' AND tablename = c.relname
) AS w
WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind = 'r'
ORDER BY c.relname COLLATE "C"

-- name: index_sizes
-- The size and entries of each index at the last VACUUM or ANALYZE.
SELECT i.relname::text AS name, t.relname::text AS table_name,
       i.relpages * current_setting('block_size')::bigint AS bytes, i.reltuples::float8 AS entries
FROM pg_catalog.pg_index AS x
JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
WHERE t.relnamespace = 'awa'::regnamespace AND t.relkind = 'r'
ORDER BY i.relname COLLATE "C"

-- name: pins
-- What prevents the removal of dead rows, the oldest first: transactions of this database, and
-- slots and standbys of the whole server.  A role without pg_read_all_stats does not see the
-- sessions of other roles.
SELECT kind, name, pid, seconds, xids, what
FROM (
    SELECT 'transaction' AS kind, coalesce(nullif(application_name, ''), 'no name') AS name, pid,
           extract(epoch FROM now() - xact_start)::float8 AS seconds,
           greatest(age(backend_xmin), age(backend_xid)) AS xids,
           usename::text || ', ' || state || ': ' || left(query, 60) AS what
    FROM pg_catalog.pg_stat_activity
    WHERE xact_start < now() - make_interval(secs => :seconds::float8)
      AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
      AND backend_type = 'client backend' AND datname = current_database()
      AND pid <> pg_backend_pid()
    UNION ALL
    SELECT 'prepared transaction', gid, NULL, extract(epoch FROM now() - prepared)::float8,
           age(transaction), owner::text
    FROM pg_catalog.pg_prepared_xacts
    WHERE prepared < now() - make_interval(secs => :seconds::float8)
      AND database = current_database()
    UNION ALL
    SELECT 'slot', slot_name::text, active_pid, NULL, greatest(age(xmin), age(catalog_xmin)),
           CASE WHEN active THEN 'in use' ELSE 'not in use' END
    FROM pg_catalog.pg_replication_slots
    WHERE greatest(age(xmin), age(catalog_xmin)) > :xids::int
    UNION ALL
    SELECT 'standby', application_name, pid, NULL, age(backend_xmin), client_addr::text
    FROM pg_catalog.pg_stat_replication
    WHERE age(backend_xmin) > :xids::int
) AS pins
ORDER BY xids DESC NULLS LAST, kind, name
LIMIT 10

-- name: stuck
-- Attempts without a worker, overdue callbacks, and due jobs that are not promoted: of each at most
-- 10,000, and the first ids.  Indexes running_by_queue (as many entries as the fleet has slots),
-- callback_timeout, run_at_scheduled and run_at_retryable.
WITH running AS MATERIALIZED (
    SELECT id, heartbeat_at, deadline_at FROM awa.jobs_hot WHERE state = 'running' LIMIT 100000
), silent AS (
    SELECT id FROM running
    WHERE heartbeat_at < now() - make_interval(secs => :rescue_seconds::float8)
), overdue AS (
    SELECT id FROM running
    WHERE deadline_at < now() - make_interval(secs => :rescue_seconds::float8)
), orphaned AS (
    SELECT id FROM running WHERE heartbeat_at IS NULL AND deadline_at IS NULL
), expired AS (
    SELECT id FROM awa.jobs_hot
    WHERE state = 'waiting_external'
      AND callback_timeout_at < now() - make_interval(secs => :rescue_seconds::float8)
    LIMIT 10000
), due AS (
    (SELECT id, run_at FROM awa.scheduled_jobs
     WHERE state = 'scheduled' AND run_at < now() - make_interval(secs => :promote_seconds::float8)
     ORDER BY run_at LIMIT 10000)
    UNION ALL
    (SELECT id, run_at FROM awa.scheduled_jobs
     WHERE state = 'retryable' AND run_at < now() - make_interval(secs => :promote_seconds::float8)
     ORDER BY run_at LIMIT 10000)
), unpromoted AS (
    SELECT id FROM due ORDER BY run_at LIMIT 10000
)
SELECT what, count(*) AS jobs, (array_agg(id ORDER BY id))[1:10] AS ids
FROM (
    SELECT 'silent' AS what, id FROM silent
    UNION ALL SELECT 'overdue', id FROM overdue
    UNION ALL SELECT 'orphaned', id FROM orphaned
    UNION ALL SELECT 'expired', id FROM expired
    UNION ALL SELECT 'unpromoted', id FROM unpromoted
) AS found
GROUP BY what
ORDER BY what

-- name: waiting
-- Kinds and queues with jobs that have been available for a while: at most 500 pairs, of each at
-- most 1,000 jobs.  Skips from pair to pair in index claim_by_kind, past any number of jobs.
WITH RECURSIVE pair AS (
    (SELECT queue, kind FROM awa.jobs_hot
     WHERE state BETWEEN 'available' AND 'available'
     ORDER BY queue, kind LIMIT 1)
    UNION ALL
    SELECT following.queue, following.kind
    FROM pair
    CROSS JOIN LATERAL (
        SELECT j.queue, j.kind FROM awa.jobs_hot AS j
        WHERE j.state BETWEEN 'available' AND 'available'
          AND (j.queue, j.kind) > (pair.queue, pair.kind)
        ORDER BY j.queue, j.kind LIMIT 1
    ) AS following
), bounded AS (
    SELECT queue, kind FROM pair LIMIT 500
)
SELECT bounded.queue, bounded.kind, ready.jobs,
       extract(epoch FROM now() - ready.oldest)::float8 AS seconds,
       coalesce(meta.paused, false) AS paused
FROM bounded
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, min(run_at) AS oldest
    FROM (
        SELECT j.run_at FROM generate_series(1, 4) AS p(priority)
        CROSS JOIN LATERAL (
            SELECT j.run_at FROM awa.jobs_hot AS j
            WHERE j.state BETWEEN 'available' AND 'available' AND j.queue = bounded.queue
              AND j.kind = bounded.kind AND j.priority = p.priority
              AND j.run_at < now() - make_interval(secs => :seconds::float8)
            ORDER BY j.run_at LIMIT 1000
        ) AS j
        LIMIT 1000
    ) AS first
) AS ready
LEFT JOIN awa.queue_meta AS meta USING (queue)
WHERE ready.jobs > 0
ORDER BY bounded.queue COLLATE "C", bounded.kind COLLATE "C"

-- name: failing
-- Kinds whose newest attempts mostly failed, with the most frequent error.  Reads at most 5,000
-- ends of each sort; where these do not cover the whole interval, the part that all of them cover
-- counts.  Indexes completed_finalized, unsuccessful_finalized and run_at_retryable.
WITH completed AS MATERIALIZED (
    SELECT kind, finalized_at FROM awa.jobs_hot
    WHERE state = 'completed' AND finalized_at > now() - make_interval(secs => :seconds::float8)
    ORDER BY finalized_at DESC LIMIT 5000
), failed AS MATERIALIZED (
    (SELECT kind, finalized_at, errors FROM awa.jobs_hot
     WHERE state IN ('failed', 'cancelled') AND state = 'failed'
       AND finalized_at > now() - make_interval(secs => :seconds::float8)
     ORDER BY finalized_at DESC LIMIT 5000)
    UNION ALL
    (SELECT kind, finalized_at, errors FROM awa.scheduled_jobs
     WHERE state = 'retryable' AND finalized_at > now() - make_interval(secs => :seconds::float8)
     ORDER BY run_at DESC LIMIT 5000)
), covered AS (
    SELECT min(finalized_at) AS since FROM completed HAVING count(*) = 5000
    UNION ALL
    SELECT min(finalized_at) FROM failed HAVING count(*) >= 5000
), ended AS (
    SELECT kind, finalized_at, NULL::jsonb[] AS errors, false AS failed FROM completed
    UNION ALL
    SELECT kind, finalized_at, errors, true FROM failed
)
SELECT kind, count(*) AS attempts, count(*) FILTER (WHERE failed) AS failed,
       mode() WITHIN GROUP (
           ORDER BY left(split_part(errors[cardinality(errors)] ->> 'error', E'\n', 1), 120)
       ) FILTER (WHERE failed) AS error
FROM ended
WHERE finalized_at >= coalesce((SELECT max(since) FROM covered), '-infinity')
GROUP BY kind
HAVING count(*) FILTER (WHERE failed) >= greatest(:attempts::int, :share::float8 * count(*))
ORDER BY count(*) FILTER (WHERE failed) DESC, kind COLLATE "C"
LIMIT 20

-- name: leader_lock
-- The session that holds the leader lock, and for how long it has been idle.
SELECT l.pid, a.usename::text AS role, coalesce(a.application_name, '') AS application,
       extract(epoch FROM now() - a.state_change)::float8 AS idle_seconds
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.classid = (4708303813012965710 >> 32)::oid
  AND l.objid = (4708303813012965710 & 4294967295)::oid
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())

-- name: clocks
-- Workers whose clock is ahead: by it they started after the server last saw them.
SELECT coalesce(hostname, 'unknown host') || ':' || pid AS worker,
       extract(epoch FROM started_at - last_seen_at)::float8 AS seconds
FROM awa.runtime_instances
WHERE started_at > last_seen_at + make_interval(secs => :seconds::float8)
ORDER BY started_at - last_seen_at DESC
LIMIT 10

-- name: ids
-- For each sequence the last id that it gave out, the largest possible, and the highest in use.
-- Before the first id and without the privilege SELECT last is NULL.
SELECT s.sequencename::text AS sequence, s.last_value AS last, s.max_value AS largest,
       coalesce(u.highest, 0) AS highest,
       has_sequence_privilege(format('awa.%I', s.sequencename), 'SELECT') AS readable
FROM pg_catalog.pg_sequences AS s
JOIN (SELECT 'jobs_id_seq' AS name,
             greatest((SELECT max(id) FROM awa.jobs_hot), (SELECT max(id) FROM awa.scheduled_jobs),
                      (SELECT max(id) FROM awa.dead_letters)) AS highest
      UNION ALL
      SELECT 'audit_log_id_seq', (SELECT max(id) FROM awa.audit_log)) AS u
  ON u.name = s.sequencename
WHERE s.schemaname = 'awa'
ORDER BY s.sequencename DESC

-- name: subscriptions
-- Subscriptions that write tables of the schema.
SELECT s.subname::text AS name, s.subenabled AS enabled
FROM pg_catalog.pg_subscription AS s
WHERE s.oid IN (
    SELECT r.srsubid
    FROM pg_catalog.pg_subscription_rel AS r
    JOIN pg_catalog.pg_class AS c ON c.oid = r.srrelid
    WHERE c.relnamespace = 'awa'::regnamespace)
ORDER BY s.subname

-- name: owned_by_extensions
-- The schema, its tables and its sequences as far as they belong to an extension.
SELECT e.extname::text AS extension, pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_catalog.pg_depend AS d
JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
  AND (d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = 'awa'::regnamespace
       OR d.classid = 'pg_catalog.pg_class'::regclass
          AND d.objid IN (SELECT oid FROM pg_catalog.pg_class
                          WHERE relnamespace = 'awa'::regnamespace))
ORDER BY 1, 2

-- name: bulk_operations
-- Bulk operations that have been open for long or failed recently.  The table is small.
SELECT id::text AS id, operation, state, processed, total_matched, last_error,
       extract(epoch FROM now() - submitted_at)::float8 AS seconds
FROM awa.bulk_operations
WHERE state = 'pending' AND submitted_at < now() - make_interval(secs => :pending_seconds::float8)
   OR state = 'running' AND submitted_at < now() - make_interval(secs => :running_seconds::float8)
   OR state = 'failed' AND finished_at > now() - interval '7 days'
ORDER BY submitted_at
LIMIT 10

-- name: waiting_workflows
-- Open workflows in which no task has run for long: how many tasks wait for a retry, and which
-- signals were not sent.  Index awa_workflows_open; the nodes of ten by primary key.
SELECT w.id, w.name, n.blocked, coalesce(n.signals, '{}') AS signals,
       extract(epoch FROM now() - coalesce(n.last, w.created_at))::float8 AS seconds
FROM (
    SELECT id, name, created_at FROM awa.workflows
    WHERE state = 'open' AND started = 0
      AND created_at < now() - make_interval(secs => :seconds::float8)
    ORDER BY id
    LIMIT 10
) AS w
CROSS JOIN LATERAL (
    SELECT max(ended_at) AS last,
           count(*) FILTER (WHERE type = 'task' AND state = 'waiting' AND parents_open = 0
                            AND on_parent_failure = 'wait'
                            AND parents_failed + parents_skipped > 0) AS blocked,
           (array_agg(name ORDER BY number)
               FILTER (WHERE type = 'signal' AND state = 'waiting'))[1:3] AS signals
    FROM awa.workflow_nodes WHERE workflow_id = w.id
) AS n
WHERE coalesce(n.last, w.created_at) < now() - make_interval(secs => :seconds::float8)
ORDER BY w.id

-- name: without_identity
-- Tables without a replica identity, with a unique index that could serve as it, NULL without one.
-- A publication makes UPDATE and DELETE of such a table fail.
SELECT c.relname::text AS name,
       (SELECT i.relname::text
        FROM pg_catalog.pg_index AS x
        JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND x.indisunique AND x.indimmediate AND x.indisvalid
          AND x.indpred IS NULL AND x.indexprs IS NULL
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = c.oid AND NOT a.attnotnull
                AND a.attnum = ANY (x.indkey::int2[]))
        ORDER BY i.relname
        LIMIT 1) AS index,
       EXISTS (SELECT FROM pg_catalog.pg_publication_tables AS p
               WHERE p.schemaname = 'awa' AND p.tablename = c.relname) AS published
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
  AND NOT CASE c.relreplident
      WHEN 'f' THEN true
      WHEN 'd' THEN EXISTS (SELECT FROM pg_catalog.pg_index AS x
                            WHERE x.indrelid = c.oid AND x.indisprimary)
      WHEN 'i' THEN EXISTS (SELECT FROM pg_catalog.pg_index AS x
                            WHERE x.indrelid = c.oid AND x.indisreplident)
      ELSE false
  END
ORDER BY c.relname COLLATE "C"

-- name: storage
-- The record of the storage transition.
SELECT current_engine, prepared_engine, state,
       extract(epoch FROM now() - entered_at)::float8 AS seconds
FROM awa.storage_transition_state
