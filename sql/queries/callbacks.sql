-- External callbacks: register, wait, resolve.  A callback is found by its id (unique index
-- idx_awa_jobs_hot_callback_id); what a worker does to its own attempt matches id, state and
-- run_lease as in claims.sql.  Each condition is tested on the row under its lock.
--
-- _awa_callbacks is the journal of the callbacks that an attempt has registered, in order, and of
-- their answers: an attempt that replaces one whose worker died gets the same ids and answers.
-- An answer is written into the entry of its id, and under _awa_callback_result, where awa 0.5
-- reads it; an answer that awa 0.5 wrote is only there, and answers the latest callback.
-- _awa_reenter marks a waiting job without a waiting handler in a live process: its answer makes
-- the job available, where otherwise the job continues running.
--
-- Answers of ours are also kept in awa.answered_callbacks, written in the statement of the change:
-- a delivery that finds no waiting callback is answered from there.

-- name: register_callback
-- Give the running attempt a callback, in place of an earlier one; journals its id.  Can be sent
-- again: a callback that was answered meanwhile stays answered.  Unanswered callbacks behind it leave
-- the journal, so that its last entry, if without an answer, is the latest callback.  Locks the row;
-- primary key.
WITH owned AS MATERIALIZED (
    SELECT id, callback_id, metadata,
           CASE WHEN jsonb_typeof(metadata -> '_awa_callbacks') = 'array'
                THEN metadata -> '_awa_callbacks' ELSE '[]' END AS journal
    FROM awa.jobs_hot
    WHERE id = :id::bigint AND run_lease = :lease::bigint AND state = 'running'
    FOR UPDATE
), merged AS (
    -- An answer to the latest callback that awa 0.5 wrote is copied into its entry.
    SELECT id, metadata,
           CASE WHEN callback_id IS NULL AND metadata ? '_awa_callback_result'
                 AND journal <> '[]' AND NOT (journal -> -1) ? 'result'
                THEN jsonb_set(journal, '{-1,result}', metadata -> '_awa_callback_result')
                ELSE journal END AS journal,
           jsonb_build_object('id', :callback_id::uuid::text) AS entry
    FROM owned
), known AS (
    SELECT id, metadata, answered,
           CASE WHEN answered THEN journal
                WHEN place IS NULL THEN journal || jsonb_build_array(entry)
                ELSE to_jsonb(ARRAY(
                    SELECT e.entry FROM jsonb_array_elements(journal) WITH ORDINALITY AS e(entry, at)
                    WHERE e.at <= place OR e.entry ? 'result'
                    ORDER BY e.at)) END AS journal
    FROM merged
    CROSS JOIN LATERAL (
        SELECT max(e.at) AS place, coalesce(bool_or(e.entry ? 'result'), false) AS answered
        FROM jsonb_array_elements(journal) WITH ORDINALITY AS e(entry, at)
        WHERE e.entry -> 'id' = merged.entry -> 'id'
    ) AS own
)
UPDATE awa.jobs_hot AS j
SET callback_id = CASE WHEN answered THEN j.callback_id ELSE :callback_id::uuid END,
    callback_timeout_at = CASE WHEN answered THEN j.callback_timeout_at
        ELSE now() + make_interval(secs => :timeout_seconds::float8) END,
    callback_filter = CASE WHEN answered THEN j.callback_filter ELSE :filter::text END,
    callback_on_complete =
        CASE WHEN answered THEN j.callback_on_complete ELSE :on_complete::text END,
    callback_on_fail = CASE WHEN answered THEN j.callback_on_fail ELSE :on_fail::text END,
    callback_transform = CASE WHEN answered THEN j.callback_transform ELSE :transform::text END,
    metadata = CASE WHEN answered THEN known.metadata
                    ELSE known.metadata - '_awa_callback_result' END
               - '_awa_reenter' || jsonb_build_object('_awa_callbacks', known.journal)
FROM known
WHERE j.id = known.id
RETURNING j.id

-- name: cancel_callback
-- Withdraw the callback of a running attempt.  again is true after a lost connection, when it may
-- be withdrawn already.  Locks the row; primary key.
UPDATE awa.jobs_hot
SET callback_id = NULL, callback_timeout_at = NULL, callback_filter = NULL,
    callback_on_complete = NULL, callback_on_fail = NULL, callback_transform = NULL
WHERE id = :id::bigint AND run_lease = :lease::bigint AND state = 'running'
  AND (callback_id = :callback_id::uuid
       OR :again::boolean AND callback_id IS NULL AND NOT metadata ? '_awa_callback_result')
RETURNING id

-- name: enter_wait
-- The handler starts to wait in this process: the lease is suspended until the answer.  Can be sent
-- again.  Locks the row; primary key.
UPDATE awa.jobs_hot
SET state = 'waiting_external', heartbeat_at = NULL, deadline_at = NULL,
    progress = nullif(:progress::jsonb, 'null'::jsonb)
WHERE id = :id::bigint AND run_lease = :lease::bigint
  AND state IN ('running', 'waiting_external') AND callback_id = :callback_id::uuid
RETURNING id

-- name: leave_wait
-- The handler continues without its answer (a time-out of its own): lease and deadline start again,
-- also when the answer has just come.  Can be sent again.  Locks the row; primary key.
UPDATE awa.jobs_hot
SET state = 'running', heartbeat_at = clock_timestamp(),
    deadline_at = clock_timestamp() + make_interval(secs => :deadline_seconds::float8)
WHERE id = :id::bigint AND run_lease = :lease::bigint
  AND (state = 'running' OR state = 'waiting_external' AND callback_id = :callback_id::uuid)
RETURNING id

-- name: abandon_wait
-- The process stops while the handler waits, or the wait has kept its slot for long.  A job that
-- still waits starts a new attempt with its
-- answer; a job whose answer was not taken is handed back, the attempt not counted.  Locks the row;
-- primary key.
WITH left_alone AS (
    UPDATE awa.jobs_hot
    SET state = CASE state WHEN 'running' THEN 'available'::awa.job_state ELSE state END,
        attempt = CASE state WHEN 'running' THEN greatest(attempt - 1, 0) ELSE attempt END,
        heartbeat_at = NULL, deadline_at = NULL,
        metadata = CASE state WHEN 'running' THEN metadata
                   ELSE metadata || '{"_awa_reenter": true}' END
    WHERE id = :id::bigint AND run_lease = :lease::bigint
      AND state IN ('running', 'waiting_external')
    RETURNING id, queue, state
), notified AS MATERIALIZED (
    SELECT pg_notify('awa:' || queue, '')
    FROM left_alone WHERE state = 'available' AND octet_length(queue) <= 59
)
SELECT id FROM left_alone WHERE (SELECT count(*) FROM notified) >= 0

-- name: look_at_waits
-- The state of jobs whose handlers wait in this process.  pending is true for an answer outside the
-- journal; answered has the ids whose answers are in the journal.  No lock; primary keys.
SELECT id, state::text AS state, run_lease, callback_id::text AS callback_id,
       state = 'running' AND metadata ? '_awa_callback_result'
       AND (NOT coalesce(metadata #> '{_awa_callbacks,-1}' ? 'result', false)
            OR NOT EXISTS (
                SELECT FROM jsonb_path_query(metadata, '$._awa_callbacks[*]') AS e(entry)
                WHERE entry -> 'result' = metadata -> '_awa_callback_result')) AS pending,
       CASE WHEN state = 'running' THEN coalesce(jsonb_path_query_array(
           metadata, '$._awa_callbacks[*] ? (exists(@.result)).id')::text, '[]')
       ELSE '[]' END AS answered
FROM awa.jobs
WHERE id = ANY(:ids::bigint[])

-- name: take_answer
-- Take the answer that made the job run again, journal it, and restart the attempt's lease.
-- Can be sent again: the answer is in the journal then.  Locks the row; primary key.
WITH owned AS MATERIALIZED (
    SELECT id, callback_id, metadata,
           CASE WHEN jsonb_typeof(metadata -> '_awa_callbacks') = 'array'
                THEN metadata -> '_awa_callbacks' ELSE '[]' END AS journal
    FROM awa.jobs_hot
    WHERE id = :id::bigint AND run_lease = :lease::bigint AND state = 'running'
      AND callback_id IS DISTINCT FROM :callback_id::uuid
    FOR UPDATE
), looked AS (
    SELECT id, metadata, journal, jsonb_path_query_first(
               journal, '$[*] ? (@.id == $id).result',
               jsonb_build_object('id', :callback_id::uuid::text)) AS kept,
           -- An answer outside the journal belongs to the last entry, if that has none; else it may be
           -- a copy of one that is journaled under another callback.
           CASE WHEN callback_id IS NOT NULL THEN NULL
                WHEN journal <> '[]' AND NOT (journal -> -1) ? 'result'
                 AND journal -> -1 ->> 'id' <> :callback_id::uuid::text THEN NULL
                WHEN (journal -> -1) ? 'result' AND EXISTS (
                    SELECT FROM jsonb_array_elements(journal) AS e(entry)
                    WHERE entry -> 'result' = metadata -> '_awa_callback_result'
                      AND entry ->> 'id' <> :callback_id::uuid::text) THEN NULL
                ELSE metadata -> '_awa_callback_result' END AS pending
    FROM owned
), found AS (
    SELECT id, coalesce(kept, pending) AS answer,
           -- Another callback's answer stays.
           CASE WHEN kept IS NULL OR kept = pending THEN metadata - '_awa_callback_result'
                ELSE metadata END AS metadata,
           ARRAY(SELECT CASE WHEN entry ->> 'id' = :callback_id::uuid::text
                        THEN entry || jsonb_build_object('result', coalesce(kept, pending))
                        ELSE entry END
                 FROM jsonb_array_elements(journal) WITH ORDINALITY AS e(entry, at)
                 ORDER BY at) AS entries
    FROM looked
    WHERE kept IS NOT NULL OR pending IS NOT NULL
)
UPDATE awa.jobs_hot AS j
SET heartbeat_at = clock_timestamp(),
    deadline_at = clock_timestamp() + make_interval(secs => :deadline_seconds::float8),
    metadata = found.metadata || jsonb_build_object('_awa_callbacks', to_jsonb(found.entries))
FROM found
WHERE j.id = found.id
RETURNING answer::text AS answer

-- name: find_callback
-- The job that waits for a callback, and its expressions.  No lock.  Here and below, an available
-- job was handed back with its callback open.
SELECT id, state::text AS state, callback_filter, callback_on_complete, callback_on_fail,
       callback_transform
FROM awa.jobs_hot
WHERE callback_id = :callback_id::uuid
  AND state IN ('waiting_external', 'running', 'available')

-- name: complete_external
-- Complete the job of a callback; the payload is kept in the metadata.  Locks the row.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = 'completed', finalized_at = now(), callback_id = NULL, callback_timeout_at = NULL,
        callback_filter = NULL, callback_on_complete = NULL, callback_on_fail = NULL,
        callback_transform = NULL, heartbeat_at = NULL, deadline_at = NULL, progress = NULL,
        metadata = metadata - '_awa_reenter'
                   || jsonb_build_object('_awa_callback_result', :payload::jsonb)
    WHERE callback_id = :callback_id::uuid
      AND state IN ('waiting_external', 'running', 'available')
    RETURNING *
), kept AS (
    INSERT INTO awa.answered_callbacks (callback_id, job_id, action, state)
    SELECT :callback_id::uuid, id, 'complete', state FROM done
    ON CONFLICT (callback_id) DO NOTHING
), counted AS (
    INSERT INTO awa.uncounted_ends (queue, kind, outcome) SELECT queue, kind, 'completed' FROM done
), notified AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text) FROM done
)
SELECT :job.*
FROM done
WHERE (SELECT count(*) FROM notified) >= 0

-- name: fail_external
-- Fail the job of a callback, whatever attempts are left.  Locks the row.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = 'failed', finalized_at = now(), callback_id = NULL, callback_timeout_at = NULL,
        callback_filter = NULL, callback_on_complete = NULL, callback_on_fail = NULL,
        callback_transform = NULL, heartbeat_at = NULL, deadline_at = NULL,
        metadata = metadata - '_awa_reenter' - '_awa_callbacks',
        errors = coalesce(errors, '{}') || (
            :error::jsonb || jsonb_build_object('attempt', attempt, 'at', to_char(
                now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')))
    WHERE callback_id = :callback_id::uuid
      AND state IN ('waiting_external', 'running', 'available')
    RETURNING *
), kept AS (
    INSERT INTO awa.answered_callbacks (callback_id, job_id, action, state)
    SELECT :callback_id::uuid, id, 'fail', state FROM done
    ON CONFLICT (callback_id) DO NOTHING
), counted AS (
    INSERT INTO awa.uncounted_ends (queue, kind, outcome, job_id, failure)
    SELECT queue, kind, 'failed', id, :failure::jsonb FROM done
), notified AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text) FROM done
)
SELECT :job.*
FROM done
WHERE (SELECT count(*) FROM notified) >= 0

-- name: retry_external
-- Restart the waiting job with attempt 0.  The update of a hot row fires no insert trigger, so the
-- notification is sent here.  Locks the row.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = 'available', attempt = 0, run_at = now(), finalized_at = NULL, callback_id = NULL,
        callback_timeout_at = NULL, callback_filter = NULL, callback_on_complete = NULL,
        callback_on_fail = NULL, callback_transform = NULL, heartbeat_at = NULL,
        deadline_at = NULL,
        metadata = metadata - '{_awa_callbacks,_awa_callback_result,_awa_reenter,_awa_crashes}'::text[]
    WHERE callback_id = :callback_id::uuid AND state = 'waiting_external'
    RETURNING *
), notified AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text),
           CASE WHEN octet_length(queue) <= 59 THEN pg_notify('awa:' || queue, '') END
    FROM done
)
SELECT :job.*
FROM done
WHERE (SELECT count(*) FROM notified) >= 0

-- name: resume_external
-- Give the job its answer.  If its handler waits in a live process, the job continues running;
-- otherwise it becomes available without losing an attempt, and its next handler gets the answer.
-- A job that was handed back before it waited keeps the answer for the next attempt.  Locks the
-- row.
WITH done AS (
    UPDATE awa.jobs_hot
    SET state = CASE WHEN state = 'available'
                       OR state = 'waiting_external' AND metadata ? '_awa_reenter'
                     THEN 'available' ELSE 'running' END::awa.job_state,
        attempt = CASE WHEN state = 'waiting_external' AND metadata ? '_awa_reenter'
                       THEN greatest(attempt - 1, 0) ELSE attempt END,
        run_at = CASE WHEN state = 'waiting_external' AND metadata ? '_awa_reenter'
                      THEN now() ELSE run_at END,
        heartbeat_at = CASE WHEN state = 'available'
                              OR state = 'waiting_external' AND metadata ? '_awa_reenter'
                            THEN NULL ELSE clock_timestamp() END,
        callback_id = NULL, callback_timeout_at = NULL, callback_filter = NULL,
        callback_on_complete = NULL, callback_on_fail = NULL, callback_transform = NULL,
        metadata = metadata - '_awa_reenter'
                   || jsonb_build_object('_awa_callback_result', :payload::jsonb)
                   || CASE WHEN jsonb_typeof(metadata -> '_awa_callbacks') = 'array'
                      THEN jsonb_build_object('_awa_callbacks', to_jsonb(ARRAY(
                          SELECT CASE WHEN entry ->> 'id' = :callback_id::uuid::text
                                 THEN entry || jsonb_build_object('result', :payload::jsonb)
                                 ELSE entry END
                          FROM jsonb_array_elements(metadata -> '_awa_callbacks')
                               WITH ORDINALITY AS e(entry, at)
                          ORDER BY at)))
                      ELSE '{}' END
    WHERE callback_id = :callback_id::uuid
      AND state IN ('waiting_external', 'running', 'available')
    RETURNING *
), kept AS (
    INSERT INTO awa.answered_callbacks (callback_id, job_id, action, state)
    SELECT :callback_id::uuid, id, 'resume', state FROM done
    ON CONFLICT (callback_id) DO NOTHING
), notified AS MATERIALIZED (
    SELECT pg_notify('awa_callback', id::text),
           CASE WHEN state = 'available' AND octet_length(queue) <= 59
                THEN pg_notify('awa:' || queue, '') END
    FROM done
)
SELECT :job.*
FROM done
WHERE (SELECT count(*) FROM notified) >= 0

-- name: heartbeat_callback
-- Restart the time-out of a callback.  Locks the row.
UPDATE awa.jobs_hot
SET callback_timeout_at = clock_timestamp() + make_interval(secs => :timeout_seconds::float8)
WHERE callback_id = :callback_id::uuid AND state = 'waiting_external'
RETURNING :job.*

-- name: find_answer
-- What the first answer of a callback did, for a repeated delivery.  No lock; primary key.
SELECT job_id, action, state::text AS state
FROM awa.answered_callbacks
WHERE callback_id = :callback_id::uuid

-- name: forget_answers
-- Delete answers that are older than 30 days, a batch at a time.  Index awa_answered_callbacks_at.
WITH gone AS (
    DELETE FROM awa.answered_callbacks WHERE callback_id = ANY(ARRAY(
        SELECT callback_id FROM awa.answered_callbacks
        WHERE answered_at < now() - interval '30 days'
        ORDER BY answered_at
        LIMIT :limit::int
        FOR UPDATE SKIP LOCKED))
    RETURNING callback_id
)
SELECT count(*) AS deleted FROM gone

-- name: use_signature
-- Remember a signature until it could not be accepted any more; nothing when it was used before.
INSERT INTO awa.callback_signatures (signature, expires_at)
VALUES (:signature::bytea, now() + make_interval(secs => :keep_seconds::float8))
ON CONFLICT (signature) DO NOTHING
RETURNING signature

-- name: forget_signatures
-- Delete the signatures that are too old to be accepted.  Index on expires_at.
DELETE FROM awa.callback_signatures WHERE expires_at < now()
