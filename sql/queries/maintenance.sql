-- What the leader does for the whole fleet.  Sets are bounded and locked with SKIP LOCKED in id
-- order; states are written out, so that the partial indexes serve.  `only` narrows a statement
-- to single rows when the whole set failed because of one of them.

-- name: promote_scheduled
-- Make due scheduled jobs available.  Index idx_awa_scheduled_jobs_run_at_scheduled.  The insert
-- trigger notifies.
WITH due AS MATERIALIZED (
    SELECT id FROM awa.scheduled_jobs
    WHERE state = 'scheduled' AND run_at <= now()
      AND (:only::bigint[] IS NULL OR id = ANY(:only::bigint[]))
    ORDER BY run_at, id
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.scheduled_jobs AS c USING due WHERE c.id = due.id RETURNING c.*
), moved AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, args, 'available', priority, attempt, max_attempts, now(),
           attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
           unique_states, run_lease, progress
    FROM gone
    RETURNING id
)
SELECT count(*) AS promoted FROM moved

-- name: promote_retryable
-- The same for retries that are due.  Index idx_awa_scheduled_jobs_run_at_retryable.
WITH due AS MATERIALIZED (
    SELECT id FROM awa.scheduled_jobs
    WHERE state = 'retryable' AND run_at <= now()
      AND (:only::bigint[] IS NULL OR id = ANY(:only::bigint[]))
    ORDER BY run_at, id
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.scheduled_jobs AS c USING due WHERE c.id = due.id RETURNING c.*
), moved AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, args, 'available', priority, attempt, max_attempts, now(),
           attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
           unique_states, run_lease, progress
    FROM gone
    RETURNING id
)
SELECT count(*) AS promoted FROM moved

-- name: due_ids
-- Jobs of the cold table that are due, for promotion one by one.
SELECT id FROM awa.scheduled_jobs WHERE run_at <= now() ORDER BY run_at, id LIMIT :limit::int

-- name: park
-- Put off a job that could not be promoted by a minute, with the reason in its errors (once).
UPDATE awa.scheduled_jobs
SET run_at = now() + interval '1 minute',
    errors = CASE
        WHEN errors[cardinality(errors)] ->> 'error' IS NOT DISTINCT FROM :reason::text THEN errors
        ELSE coalesce(errors, '{}') || jsonb_build_object(
            'error', :reason::text, 'attempt', attempt, 'at', to_char(
                now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
    END
WHERE id = :id::bigint

-- name: stale_ids
-- Running jobs whose worker is presumed dead.  Index awa_jobs_hot_running_by_queue.
SELECT id FROM awa.jobs_hot
WHERE state = 'running' AND heartbeat_at < now() - make_interval(secs => :staleness::float8)
ORDER BY id
LIMIT :limit::int

-- name: overdue_ids
-- Running jobs past their deadline.  Index awa_jobs_hot_running_by_queue.
SELECT id FROM awa.jobs_hot
WHERE state = 'running' AND deadline_at < now()
ORDER BY id
LIMIT :limit::int

-- name: expired_callback_ids
-- Waiting jobs whose callback did not come.  Index idx_awa_jobs_hot_callback_timeout.
SELECT id FROM awa.jobs_hot
WHERE state = 'waiting_external' AND callback_timeout_at < now()
ORDER BY callback_timeout_at
LIMIT :limit::int

-- name: rescue
-- Take jobs away from attempts that cannot end them.  With attempts left they become retryable
-- (a stale one due at once, the others after the backoff), else failed.  The condition is tested
-- again under the lock: a heartbeat that came meanwhile keeps its job.  `spent` fails them all.
-- The journal of callbacks outlives a dead worker only: the next attempt takes it up.
WITH target AS MATERIALIZED (
    SELECT id, :spent::boolean OR attempt >= max_attempts AS spent,
           jsonb_build_object('error', :error::text, 'attempt', attempt, 'at', to_char(
               now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')) AS entry
    FROM awa.jobs_hot
    WHERE id = ANY(:ids::bigint[])
      AND CASE :cause::text
          WHEN 'heartbeat' THEN state = 'running'
              AND heartbeat_at < now() - make_interval(secs => :staleness::float8)
          WHEN 'deadline' THEN state = 'running' AND deadline_at < now()
          ELSE state = 'waiting_external' AND callback_timeout_at < now()
      END
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'failed', finalized_at = now(), heartbeat_at = NULL, deadline_at = NULL,
        callback_id = NULL, callback_timeout_at = NULL, callback_filter = NULL,
        callback_on_complete = NULL, callback_on_fail = NULL, callback_transform = NULL,
        errors = coalesce(j.errors, '{}') || target.entry
    FROM target
    WHERE j.id = target.id AND target.spent
    RETURNING j.id, j.kind, j.queue, j.run_lease, j.state
), gone AS (
    DELETE FROM awa.jobs_hot AS j USING target
    WHERE j.id = target.id AND NOT target.spent
    RETURNING j.*, target.entry
), moved AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, args, 'retryable', priority, attempt, max_attempts,
           CASE WHEN :cause::text = 'heartbeat' THEN run_at
                ELSE now() + awa.backoff_duration(attempt, max_attempts) END,
           attempted_at, now(), created_at, coalesce(errors, '{}') || entry,
           CASE WHEN :cause::text = 'heartbeat' THEN metadata
                ELSE metadata - '{_awa_callbacks,_awa_callback_result,_awa_reenter}'::text[] END,
           tags, unique_key, unique_states, run_lease, progress
    FROM gone
    RETURNING id, kind, queue, run_lease, state
)
SELECT id, kind, queue, run_lease, state::text AS state FROM ended
UNION ALL
SELECT id, kind, queue, run_lease, state::text FROM moved
ORDER BY id

-- name: age
-- Raise the priority of jobs that wait, one level a pass; the first time the original is kept in
-- the metadata.  Index idx_awa_jobs_hot_dequeue.
WITH old AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE state = 'available' AND priority > 1
      AND run_at <= now() - make_interval(secs => :threshold::float8)
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), aged AS (
    UPDATE awa.jobs_hot AS j
    SET priority = priority - 1,
        metadata = CASE WHEN metadata ? '_awa_original_priority' THEN metadata
            ELSE metadata || jsonb_build_object('_awa_original_priority', priority) END
    FROM old
    WHERE j.id = old.id
    RETURNING j.id
)
SELECT count(*) AS aged FROM aged

-- name: delete_completed
-- Delete completed jobs past their retention, oldest first.
-- Index idx_awa_jobs_hot_completed_finalized.
WITH old AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE state = 'completed' AND finalized_at < now() - make_interval(secs => :seconds::float8)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND queue <> ALL(:except_queues::text[])
    ORDER BY finalized_at
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.jobs_hot AS j USING old WHERE j.id = old.id RETURNING j.id
)
SELECT count(*) AS deleted FROM gone

-- name: delete_unsuccessful
-- Delete failed and cancelled jobs past their retention, oldest first; not the failed ones that
-- are to become dead letters.
WITH old AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE state IN ('failed', 'cancelled')
      AND (state = 'cancelled' OR queue <> ALL (ARRAY(
          SELECT p.queue FROM awa.queue_policies AS p WHERE p.dead_letters)))
      AND finalized_at < now() - make_interval(secs => :seconds::float8)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND queue <> ALL(:except_queues::text[])
    ORDER BY finalized_at
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.jobs_hot AS j USING old WHERE j.id = old.id RETURNING j.id
)
SELECT count(*) AS deleted FROM gone

-- name: recount
-- Bring the cached counters up to date; the function limits its own share of the time.
SELECT awa.recompute_dirty_admin_metadata(100) AS processed

-- name: forget_instances
-- Delete the rows of processes not seen for a day.
DELETE FROM awa.runtime_instances WHERE last_seen_at < now() - interval '24 hours'

-- name: forget_bulk_operations
-- Delete bulk operations that ended a month ago.
DELETE FROM awa.bulk_operations WHERE finished_at < now() - interval '30 days'

-- name: forget_queue_descriptors
-- Delete descriptors of queues that nobody has declared for a while.
DELETE FROM awa.queue_descriptors
WHERE last_seen_at < now() - make_interval(secs => :seconds::float8)

-- name: forget_kind_descriptors
-- Delete descriptors of kinds that nobody has declared for a while.
DELETE FROM awa.job_kind_descriptors
WHERE last_seen_at < now() - make_interval(secs => :seconds::float8)
