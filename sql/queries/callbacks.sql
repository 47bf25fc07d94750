-- External callbacks: register, wait, resolve.  A callback is found by its id (unique index
-- idx_awa_jobs_hot_callback_id); what a worker does to its own attempt matches id, state and
-- run_lease as in claims.sql.  Payloads are kept in the job's metadata under
-- _awa_callback_result, where awa 0.5 keeps those of resume.
--
-- _awa_callbacks is the journal of the callbacks an attempt has asked for, in order, and of what
-- came back: an attempt that takes the place of one that died gets the same ids and answers.
-- _awa_reenter marks a waiting job that no handler waits for in a live process: its answer makes
-- the job available, where a waited-for one goes on running.

-- name: register_callback
-- Give the running attempt a callback, in place of one it may have; journals its id.
UPDATE awa.jobs_hot
SET callback_id = :callback_id::uuid,
    callback_timeout_at = now() + make_interval(secs => :timeout_seconds::float8),
    callback_filter = :filter::text, callback_on_complete = :on_complete::text,
    callback_on_fail = :on_fail::text, callback_transform = :transform::text,
    metadata = metadata - '_awa_reenter' || jsonb_build_object('_awa_callbacks', :journal::jsonb)
WHERE id = :id::bigint AND run_lease = :lease::bigint AND state = 'running'
RETURNING id

-- name: cancel_callback
-- Withdraw the callback of a running attempt.
UPDATE awa.jobs_hot
SET callback_id = NULL, callback_timeout_at = NULL, callback_filter = NULL,
    callback_on_complete = NULL, callback_on_fail = NULL, callback_transform = NULL
WHERE id = :id::bigint AND run_lease = :lease::bigint AND state = 'running'
  AND callback_id = :callback_id::uuid
RETURNING id

-- name: enter_wait
-- The handler waits in this process: the lease rests until the answer.
UPDATE awa.jobs_hot
SET state = 'waiting_external', heartbeat_at = NULL, deadline_at = NULL,
    progress = nullif(:progress::jsonb, 'null'::jsonb)
WHERE id = :id::bigint AND run_lease = :lease::bigint AND state = 'running'
  AND callback_id = :callback_id::uuid
RETURNING id

-- name: abandon_wait
-- The process stops while the handler waits: the answer will start a new attempt.
UPDATE awa.jobs_hot
SET metadata = metadata || '{"_awa_reenter": true}'
WHERE id = :id::bigint AND run_lease = :lease::bigint AND state = 'waiting_external'
RETURNING id

-- name: look_at_waits
-- What became of the jobs whose handlers wait here.  No lock; primary keys.
SELECT id, state::text AS state, run_lease, callback_id::text AS callback_id,
       metadata ? '_awa_callback_result' AS answered
FROM awa.jobs
WHERE id = ANY(:ids::bigint[])

-- name: take_answer
-- Take the answer that made the job run again, journal it, and give the attempt its lease back.
UPDATE awa.jobs_hot
SET heartbeat_at = now(),
    deadline_at = now() + make_interval(secs => :deadline_seconds::float8),
    metadata = jsonb_set(
        metadata - '_awa_callback_result',
        ARRAY['_awa_callbacks', (jsonb_array_length(metadata -> '_awa_callbacks') - 1)::text, 'result'],
        metadata -> '_awa_callback_result')
FROM (SELECT id AS old_id, metadata -> '_awa_callback_result' AS answer FROM awa.jobs_hot
      WHERE id = :id::bigint) AS old
WHERE id = old_id AND run_lease = :lease::bigint AND state = 'running' AND callback_id IS NULL
  AND metadata ? '_awa_callback_result'
RETURNING answer::text AS answer

-- name: find_callback
-- The job that waits for a callback, and its expressions.  No lock.
SELECT id, state::text AS state, callback_filter, callback_on_complete, callback_on_fail,
       callback_transform
FROM awa.jobs_hot
WHERE callback_id = :callback_id::uuid AND state IN ('waiting_external', 'running')

-- name: complete_external
-- The outside system is done: the job ends completed, its payload kept in the metadata.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = 'completed', finalized_at = now(), callback_id = NULL, callback_timeout_at = NULL,
        callback_filter = NULL, callback_on_complete = NULL, callback_on_fail = NULL,
        callback_transform = NULL, heartbeat_at = NULL, deadline_at = NULL, progress = NULL,
        metadata = metadata - '_awa_reenter'
                   || jsonb_build_object('_awa_callback_result', :payload::jsonb)
    WHERE callback_id = :callback_id::uuid AND state IN ('waiting_external', 'running')
    RETURNING *
), told AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text) FROM done
)
SELECT id, kind, queue, state::text AS state, priority, attempt, max_attempts, run_lease,
       args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
       to_jsonb(errors)::text AS errors, progress::text AS progress,
       run_at, created_at, finalized_at, deadline_at
FROM done
WHERE (SELECT count(*) FROM told) >= 0

-- name: fail_external
-- The outside system gave up: the job ends failed, whatever attempts are left.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = 'failed', finalized_at = now(), callback_id = NULL, callback_timeout_at = NULL,
        callback_filter = NULL, callback_on_complete = NULL, callback_on_fail = NULL,
        callback_transform = NULL, heartbeat_at = NULL, deadline_at = NULL,
        metadata = metadata - '_awa_reenter' - '_awa_callbacks',
        errors = coalesce(errors, '{}') || (
            :error::jsonb || jsonb_build_object('attempt', attempt, 'at', to_char(
                now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')))
    WHERE callback_id = :callback_id::uuid AND state IN ('waiting_external', 'running')
    RETURNING *
), told AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text) FROM done
)
SELECT id, kind, queue, state::text AS state, priority, attempt, max_attempts, run_lease,
       args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
       to_jsonb(errors)::text AS errors, progress::text AS progress,
       run_at, created_at, finalized_at, deadline_at
FROM done
WHERE (SELECT count(*) FROM told) >= 0

-- name: retry_external
-- Start the waiting job over.  The update of a hot row fires no insert trigger, so the
-- notification is sent here.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = 'available', attempt = 0, run_at = now(), finalized_at = NULL, callback_id = NULL,
        callback_timeout_at = NULL, callback_filter = NULL, callback_on_complete = NULL,
        callback_on_fail = NULL, callback_transform = NULL, heartbeat_at = NULL,
        deadline_at = NULL,
        metadata = metadata - '_awa_reenter' - '_awa_callbacks' - '_awa_callback_result'
    WHERE callback_id = :callback_id::uuid AND state = 'waiting_external'
    RETURNING *
), told AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text),
           CASE WHEN octet_length(queue) <= 59 THEN pg_notify('awa:' || queue, '') END
    FROM done
)
SELECT id, kind, queue, state::text AS state, priority, attempt, max_attempts, run_lease,
       args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
       to_jsonb(errors)::text AS errors, progress::text AS progress,
       run_at, created_at, finalized_at, deadline_at
FROM done
WHERE (SELECT count(*) FROM told) >= 0

-- name: resume_external
-- Hand the answer to the job: one that is waited for goes on running, another becomes available
-- without losing an attempt, and its next handler finds the answer.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = CASE WHEN state = 'waiting_external' AND metadata ? '_awa_reenter'
                     THEN 'available' ELSE 'running' END::awa.job_state,
        attempt = CASE WHEN state = 'waiting_external' AND metadata ? '_awa_reenter'
                       THEN greatest(attempt - 1, 0) ELSE attempt END,
        run_at = CASE WHEN state = 'waiting_external' AND metadata ? '_awa_reenter'
                      THEN now() ELSE run_at END,
        heartbeat_at = CASE WHEN state = 'waiting_external' AND metadata ? '_awa_reenter'
                            THEN NULL ELSE now() END,
        callback_id = NULL, callback_timeout_at = NULL, callback_filter = NULL,
        callback_on_complete = NULL, callback_on_fail = NULL, callback_transform = NULL,
        metadata = metadata - '_awa_reenter'
                   || jsonb_build_object('_awa_callback_result', :payload::jsonb)
    WHERE callback_id = :callback_id::uuid AND state IN ('waiting_external', 'running')
    RETURNING *
), told AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text),
           CASE WHEN state = 'available' AND octet_length(queue) <= 59
                THEN pg_notify('awa:' || queue, '') END
    FROM done
)
SELECT id, kind, queue, state::text AS state, priority, attempt, max_attempts, run_lease,
       args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
       to_jsonb(errors)::text AS errors, progress::text AS progress,
       run_at, created_at, finalized_at, deadline_at
FROM done
WHERE (SELECT count(*) FROM told) >= 0

-- name: heartbeat_callback
-- The outside system is still at work: the time-out starts anew.
UPDATE awa.jobs_hot
SET callback_timeout_at = now() + make_interval(secs => :timeout_seconds::float8)
WHERE callback_id = :callback_id::uuid AND state = 'waiting_external'
RETURNING id, kind, queue, state::text AS state, priority, attempt, max_attempts, run_lease,
          args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
          to_jsonb(errors)::text AS errors, progress::text AS progress,
          run_at, created_at, finalized_at, deadline_at

-- name: use_signature
-- Remember a signature until it could not be accepted any more; nothing when it was used before.
INSERT INTO awa.callback_signatures (signature, expires_at)
VALUES (:signature::bytea, now() + make_interval(secs => :keep_seconds::float8))
ON CONFLICT (signature) DO NOTHING
RETURNING signature

-- name: forget_signatures
-- Drop the signatures that are too old to be accepted anyway.  Index on expires_at.
DELETE FROM awa.callback_signatures WHERE expires_at < now()
