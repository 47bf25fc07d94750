-- Schedules: awa.cron_jobs holds the definition as in awa 0.5 and the last fire, awa.cron_settings
-- what awa 0.5 does not know.  A fire is claimed by compare-and-swap on last_enqueued_at, so two
-- leaders (also of awa 0.5) never enqueue it twice.

-- name: declare_schedules
-- Write the schedules of a process, in name order.  Pause, creation time and last fire stay (a
-- trigger sets the last fire to now if expression or time zone change).  A removed schedule comes
-- back only when a process starts (fresh), and begins then: what it fired before is not fired
-- again.  Without living, no process is recorded as having them: they came from a file.  Locks
-- their rows; rows that are locked stay as they are, and their names are returned.
WITH wanted AS MATERIALIZED (
    SELECT d.*, CASE WHEN s.removed_at IS NOT NULL
                     THEN date_trunc('second', clock_timestamp()) END AS begins_at
    FROM jsonb_to_recordset(:schedules::jsonb) AS d (
        name text, cron_expr text, timezone text, kind text, queue text, args jsonb,
        priority smallint, max_attempts smallint, tags text[], metadata jsonb,
        missed_fire_policy text, catch_up_limit int, jitter_seconds float8
    )
    LEFT JOIN awa.cron_settings AS s ON s.name = d.name
    WHERE :fresh::boolean OR s.removed_at IS NULL
    ORDER BY d.name
), free AS MATERIALIZED (
    SELECT c.name
    FROM awa.cron_jobs AS c
    WHERE c.name = ANY (ARRAY(SELECT wanted.name FROM wanted))
    ORDER BY c.name
    FOR NO KEY UPDATE OF c SKIP LOCKED
), declared AS MATERIALIZED (
    SELECT wanted.*
    FROM wanted
    WHERE wanted.name IN (SELECT free.name FROM free)
       OR NOT EXISTS (SELECT FROM awa.cron_jobs AS c WHERE c.name = wanted.name)
    ORDER BY wanted.name
), settings AS (
    INSERT INTO awa.cron_settings AS s (
        name, missed_fire_policy, catch_up_limit, jitter_seconds, declared_at
    )
    SELECT name, missed_fire_policy, catch_up_limit, jitter_seconds,
           CASE WHEN :living::boolean THEN now() END
    FROM declared
    ON CONFLICT (name) DO UPDATE
    SET missed_fire_policy = excluded.missed_fire_policy,
        catch_up_limit = excluded.catch_up_limit, jitter_seconds = excluded.jitter_seconds,
        declared_at = coalesce(excluded.declared_at, s.declared_at), removed_at = NULL
), written AS (
    INSERT INTO awa.cron_jobs AS c (
        name, cron_expr, timezone, kind, queue, args, priority, max_attempts, tags, metadata,
        last_enqueued_at
    )
    SELECT name, cron_expr, timezone, kind, queue, args, priority, max_attempts, tags, metadata,
           begins_at
    FROM declared
    ON CONFLICT (name) DO UPDATE
    SET cron_expr = excluded.cron_expr, timezone = excluded.timezone, kind = excluded.kind,
        queue = excluded.queue, args = excluded.args, priority = excluded.priority,
        max_attempts = excluded.max_attempts, tags = excluded.tags, metadata = excluded.metadata,
        last_enqueued_at = greatest(c.last_enqueued_at, excluded.last_enqueued_at),
        updated_at = now()
    WHERE excluded.last_enqueued_at IS NOT NULL
       OR (c.cron_expr, c.timezone, c.kind, c.queue, c.args, c.priority, c.max_attempts, c.tags,
           c.metadata)
        IS DISTINCT FROM (excluded.cron_expr, excluded.timezone, excluded.kind, excluded.queue,
           excluded.args, excluded.priority, excluded.max_attempts, excluded.tags, excluded.metadata)
)
SELECT wanted.name
FROM wanted
WHERE wanted.name NOT IN (SELECT declared.name FROM declared)
ORDER BY wanted.name

-- name: read_schedules
-- What the leader needs to find due schedules, by name.  No lock.  Times that a Python datetime
-- cannot hold are NULL, and times_readable is false.  version identifies the row as it was read.
SELECT c.name, coalesce(c.cron_expr, '') AS cron_expr, coalesce(c.timezone, '') AS timezone, c.kind,
       c.queue, c.priority, c.max_attempts, coalesce(cardinality(c.tags), 0) AS tag_count,
       coalesce(jsonb_typeof(c.metadata), 'null') AS metadata_type,
       CASE WHEN c.last_enqueued_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z'
            THEN c.last_enqueued_at END AS last_enqueued_at,
       CASE WHEN c.created_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z'
            THEN c.created_at END AS created_at,
       coalesce(c.last_enqueued_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z', true)
       AND coalesce(c.created_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z', false) AS times_readable,
       coalesce(s.missed_fire_policy, 'coalesce') AS missed_fire_policy,
       coalesce(s.catch_up_limit, 1) AS catch_up_limit,
       coalesce(s.jitter_seconds, 0) AS jitter_seconds,
       ROW(c.last_enqueued_at, c.cron_expr, c.timezone, c.updated_at)::text AS version, now() AS now
FROM awa.cron_jobs AS c
LEFT JOIN awa.cron_settings AS s ON s.name = c.name
WHERE s.paused_at IS NULL
ORDER BY c.name

-- name: fire_schedules
-- Enqueue the fires of due schedules whose last fire, expression and time zone are still as they
-- were read, and that were not paused or removed since.  Locks their rows of awa.cron_jobs and
-- awa.cron_settings; rows that are locked are left for the next round.  Job metadata gets
-- cron_name and cron_fire_time, as in awa 0.5.
WITH due AS MATERIALIZED (
    SELECT * FROM unnest(:names::text[], :seen::timestamptz[], :newest::timestamptz[],
                         :versions::text[])
        AS d(name, seen, newest, version)
    ORDER BY name
), held AS MATERIALIZED (
    SELECT c.name, due.newest
    FROM due
    JOIN awa.cron_jobs AS c ON c.name = due.name
    WHERE c.last_enqueued_at IS NOT DISTINCT FROM due.seen
      AND (due.version IS NULL
           OR due.version = ROW(c.last_enqueued_at, c.cron_expr, c.timezone, c.updated_at)::text)
    ORDER BY c.name
    FOR NO KEY UPDATE OF c SKIP LOCKED
), going AS MATERIALIZED (
    SELECT s.name
    FROM awa.cron_settings AS s
    WHERE s.name = ANY (ARRAY(SELECT held.name FROM held)) AND s.paused_at IS NULL
      AND s.removed_at IS NULL
    ORDER BY s.name
    FOR SHARE OF s SKIP LOCKED
), won AS (
    UPDATE awa.cron_jobs AS c
    SET last_enqueued_at = held.newest, updated_at = now()
    FROM held
    WHERE c.name = held.name
      AND (held.name IN (SELECT going.name FROM going)
           OR NOT EXISTS (SELECT FROM awa.cron_settings AS s WHERE s.name = held.name))
    RETURNING c.*
)
SELECT count(j.id) AS fired
FROM unnest(:fire_names::text[], :fire_ats::timestamptz[], :run_ats::timestamptz[])
    AS f(name, fire_at, run_at)
JOIN won ON won.name = f.name
CROSS JOIN LATERAL awa.insert_job_compat(
    won.kind, won.queue, won.args,
    (CASE WHEN f.run_at > now() THEN 'scheduled' ELSE 'available' END)::awa.job_state,
    won.priority, won.max_attempts, CASE WHEN f.run_at > now() THEN f.run_at END,
    won.metadata || jsonb_build_object(
        'cron_name', won.name,
        'cron_fire_time', to_char(f.fire_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00'),
    won.tags
) AS j

-- name: trigger_schedule
-- Enqueue a schedule's job now; its fires do not change.
SELECT :job.*
FROM (
    SELECT j.*
    FROM awa.cron_jobs AS c
    CROSS JOIN LATERAL awa.insert_job_compat(
        c.kind, c.queue, c.args, 'available', c.priority, c.max_attempts, NULL,
        c.metadata || jsonb_build_object('cron_name', c.name, 'triggered_manually', true), c.tags
    ) AS j
    WHERE c.name = :name::text
) AS inserted

-- name: pause_schedule
-- Pause a schedule.  The new updated_at invalidates what a leader has read before.  Locks the row.
WITH touched AS (
    UPDATE awa.cron_jobs SET updated_at = clock_timestamp() WHERE name = :name::text RETURNING name
)
INSERT INTO awa.cron_settings AS s (name, paused_at, paused_by)
SELECT name, now(), :paused_by::text FROM touched
ON CONFLICT (name) DO UPDATE
SET paused_at = coalesce(s.paused_at, now()), paused_by = excluded.paused_by
RETURNING name

-- name: resume_schedule
-- Resume a schedule: it fires from now on, without the fires missed while it was paused.  Locks
-- the row of the schedule before that of its settings, as a pause does.
WITH paused AS MATERIALIZED (
    SELECT c.name
    FROM awa.cron_jobs AS c
    JOIN awa.cron_settings AS s ON s.name = c.name
    WHERE c.name = :name::text AND s.paused_at IS NOT NULL
    FOR NO KEY UPDATE OF c
), moved AS (
    UPDATE awa.cron_jobs AS c
    SET last_enqueued_at = greatest(c.last_enqueued_at, date_trunc('second', clock_timestamp()))
    FROM paused
    WHERE c.name = paused.name
    RETURNING c.name
), resumed AS (
    UPDATE awa.cron_settings SET paused_at = NULL, paused_by = NULL
    WHERE name IN (SELECT moved.name FROM moved)
)
SELECT name FROM awa.cron_jobs WHERE name = :name::text

-- name: delete_schedule
-- Remove a schedule and record the removal.
WITH gone AS (
    DELETE FROM awa.cron_jobs WHERE name = :name::text RETURNING name
)
INSERT INTO awa.cron_settings (name, removed_at)
SELECT name, now() FROM gone
ON CONFLICT (name) DO UPDATE SET removed_at = now(), paused_at = NULL, paused_by = NULL
RETURNING name

-- name: removed_at
-- When a schedule that does not exist was removed, if it ever was.
SELECT removed_at FROM awa.cron_settings WHERE name = :name::text AND removed_at IS NOT NULL
