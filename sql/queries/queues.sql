-- Queues: pause, resume, drain.

-- name: pause_queue
-- Stop the claims of a queue; running jobs continue.  Creates the row for an unknown queue.
INSERT INTO awa.queue_meta (queue, paused, paused_at, paused_by)
VALUES (:queue::text, true, now(), :paused_by::text)
ON CONFLICT (queue) DO UPDATE
SET paused = true, paused_at = excluded.paused_at, paused_by = excluded.paused_by

-- name: resume_queue
-- Allow claims again and wake the workers.  paused_by and paused_at stay.
WITH resumed AS (
    UPDATE awa.queue_meta SET paused = false WHERE queue = :queue::text AND paused
    RETURNING queue
)
SELECT pg_notify('awa:' || queue, '') FROM resumed WHERE octet_length(queue) <= 59

-- name: drain
-- Cancel those of these jobs that wait in this queue, tested under the lock: a job that was claimed
-- or moved meanwhile, or that is locked, stays.  Primary keys.  A process that waits for a callback
-- of such a job is notified.
WITH hot_target AS MATERIALIZED (
    SELECT id, state, run_lease FROM awa.jobs_hot
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND queue || '' = :queue::text
      AND state::text IN ('available', 'waiting_external')
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), hot AS (
    UPDATE awa.jobs_hot
    SET state = 'cancelled', finalized_at = now(), callback_id = NULL,
        callback_timeout_at = NULL, callback_filter = NULL, callback_on_complete = NULL,
        callback_on_fail = NULL, callback_transform = NULL
    WHERE id = ANY(ARRAY(SELECT id FROM hot_target))
    RETURNING id, kind
), cold_target AS MATERIALIZED (
    SELECT id FROM awa.scheduled_jobs
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND queue || '' = :queue::text
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.scheduled_jobs WHERE id = ANY(ARRAY(SELECT id FROM cold_target)) RETURNING *
), moved AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, args, 'cancelled', priority, attempt, max_attempts, run_at,
           attempted_at, now(), created_at, errors, metadata, tags, unique_key, unique_states,
           run_lease, progress
    FROM gone
    RETURNING id, kind
), cancelled AS (
    SELECT id, kind FROM hot UNION ALL SELECT id, kind FROM moved
), counted AS (
    INSERT INTO awa.uncounted_ends (queue, kind, outcome, ends)
    SELECT :queue::text, kind, 'cancelled', count(*) FROM cancelled GROUP BY kind
), notified AS MATERIALIZED (
    SELECT pg_notify(
        'awa:cancel', json_build_object('job_id', id, 'run_lease', run_lease)::text)
    FROM hot_target
    WHERE state = 'waiting_external'
)
SELECT id FROM cancelled
WHERE (SELECT count(*) FROM notified) >= 0 -- a CTE that is not read does not run

-- name: refresh_counts
-- Recount the cached counters of every queue by state now.
SELECT awa.refresh_admin_metadata()
