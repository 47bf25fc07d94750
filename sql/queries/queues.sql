-- Queues: pause, resume.

-- name: pause_queue
-- Stop claims of a queue; running jobs go on.  Creates the row for an unknown queue.
INSERT INTO awa.queue_meta (queue, paused, paused_at, paused_by)
VALUES (:queue::text, true, now(), :paused_by::text)
ON CONFLICT (queue) DO UPDATE
SET paused = true, paused_at = excluded.paused_at, paused_by = excluded.paused_by

-- name: resume_queue
-- Allow claims again and wake the workers; who paused it and when stays for the record.
WITH resumed AS (
    UPDATE awa.queue_meta SET paused = false WHERE queue = :queue::text AND paused
    RETURNING queue
)
SELECT pg_notify('awa:' || queue, '') FROM resumed WHERE octet_length(queue) <= 59

-- name: drain
-- Cancel those of these jobs that wait in this queue, tested under the lock: one that was claimed
-- or moved meanwhile, or that somebody holds, is left alone.  Primary keys.  A process that waits
-- for a callback of such a job is told.
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
    RETURNING id
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
    RETURNING id
), told AS MATERIALIZED (
    SELECT pg_notify(
        'awa:cancel', json_build_object('job_id', id, 'run_lease', run_lease)::text)
    FROM hot_target
    WHERE state = 'waiting_external'
)
SELECT id FROM (SELECT id FROM hot UNION ALL SELECT id FROM moved) AS cancelled
WHERE (SELECT count(*) FROM told) >= 0 -- sends them: a CTE nobody reads is not run

-- name: refresh_counts
-- Recount the cached per-state counters of every queue now.
SELECT awa.refresh_admin_metadata()
