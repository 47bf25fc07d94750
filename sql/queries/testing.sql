-- What awa_lib.testing asks of a test database.  Claims and ends of attempts go through the
-- worker's own blocks in claims.sql.

-- name: next_job
-- Queue and kind of the job that comes next, over all queues.  No lock.
SELECT queue, kind FROM awa.jobs_hot AS j
WHERE state = 'available' AND run_at <= now()
  AND kind = ANY(:kinds::text[])
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = j.queue AND m.paused)
ORDER BY priority, run_at, id
LIMIT 1

-- name: claim_job
-- Claim one job by id, as claim_kind does; none when it is not available.  Primary key.
UPDATE awa.jobs_hot
SET state = 'running', attempt = attempt + 1, run_lease = :lease::bigint,
    attempted_at = now(), heartbeat_at = now(),
    deadline_at = now() + make_interval(secs => :deadline_seconds::float8)
WHERE id = :id::bigint AND state = 'available'
RETURNING id, kind, queue, 'running' AS state, priority, attempt, max_attempts, run_lease,
    args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
    to_jsonb(errors)::text AS errors, progress::text AS progress, run_at::text AS run_at,
    created_at::text AS created_at, finalized_at::text AS finalized_at,
    deadline_at::text AS deadline_at

-- name: waiting_jobs
-- Jobs that wait for a run, oldest first; args by containment.  No lock; for small tables.
SELECT id, kind, queue, state::text AS state, priority, attempt, max_attempts, run_lease,
       args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
       to_jsonb(errors)::text AS errors, progress::text AS progress, run_at, created_at,
       finalized_at, deadline_at
FROM awa.jobs
WHERE state IN ('scheduled', 'available', 'retryable')
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND args @> :args::jsonb
ORDER BY id

-- name: shift_jobs
-- Bring the run of every waiting job nearer, as if that much time had passed.  Locks the whole
-- cold table's rows.
UPDATE awa.scheduled_jobs
SET run_at = run_at - make_interval(secs => :seconds::float8)

-- name: delete_jobs
-- Delete every job, whatever its state.
DELETE FROM awa.jobs

-- name: delete_queues
-- Forget which queues are paused.
DELETE FROM awa.queue_meta

-- name: lock_template
-- One process of a test run at a time builds the template.  Held until the connection closes.
SELECT pg_advisory_lock(hashtext(:name::text))

-- name: unlock_template
-- Let the next process look.
SELECT pg_advisory_unlock(hashtext(:name::text))

-- name: databases
-- Databases of a test run.
SELECT datname FROM pg_database WHERE starts_with(datname, :prefix::text)
