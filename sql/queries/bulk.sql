-- Bulk operations: one change of many jobs, in batches.  A batch locks its row of
-- awa.bulk_operations first, then at most 500 jobs in id order (SKIP LOCKED), and commits its work
-- together with the cursor.  An operation whose batch failed temporarily is skipped until retry_at,
-- and continues in smaller steps.  States are compared as enum constants, so that partial indexes
-- can be used; pages of ids follow a primary key, or awa_jobs_hot_unsuccessful.

-- name: preview
-- The number of matching jobs, in all and by state, their highest id, and the lowest ten ids.  No
-- lock; reads both tables once.
WITH matching AS MATERIALIZED (
    SELECT id, state FROM awa.jobs
    WHERE (:state::awa.job_state IS NULL OR state = :state::awa.job_state)
      AND state = ANY(:states::awa.job_state[])
      AND (:kind::text IS NULL OR kind = :kind::text)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
      AND (:created_after::timestamptz IS NULL OR created_at >= :created_after::timestamptz)
      AND (:created_before::timestamptz IS NULL OR created_at < :created_before::timestamptz)
      AND (:args::jsonb IS NULL OR args @> :args::jsonb)
      AND (:error::text IS NULL
           OR strpos(errors[cardinality(errors)] ->> 'error', :error::text) > 0)
      AND (:failure::text IS NULL
           OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
)
SELECT count(*) AS total_matched, coalesce(max(id), 0) AS last_id,
       ARRAY(SELECT id FROM matching ORDER BY id LIMIT 10) AS sample,
       (SELECT jsonb_object_agg(state, jobs)::text
        FROM (SELECT state, count(*) AS jobs FROM matching GROUP BY state) AS s) AS states
FROM matching

-- name: submit
-- Record a bulk operation.
INSERT INTO awa.bulk_operations (
    operation, filter, spec, last_id, total_matched, submitted_by
)
VALUES (
    :operation::text, :filter::jsonb, :spec::jsonb, :last_id::bigint, :total_matched::bigint,
    :submitted_by::text
)
RETURNING :bulk_operation.*

-- name: cancel
-- Cancel a bulk operation between two batches: waits for the batch in progress.
UPDATE awa.bulk_operations
SET state = 'cancelled', finished_at = now()
WHERE id = :id::uuid AND state IN ('pending', 'running')
RETURNING :bulk_operation.*

-- name: take_next
-- Lock the oldest open bulk operation that may be tried now and that no other session has locked.
-- Index awa_bulk_operations_open.
SELECT :bulk_task.*
FROM awa.bulk_operations
WHERE state IN ('pending', 'running') AND (retry_at IS NULL OR retry_at <= now())
ORDER BY submitted_at, id
LIMIT 1
FOR UPDATE SKIP LOCKED

-- name: take_one
-- Lock one bulk operation, unless it has ended; waits for a batch in progress.  Primary key.
SELECT :bulk_task.*
FROM awa.bulk_operations
WHERE id = :id::uuid AND state IN ('pending', 'running')
FOR UPDATE

-- name: matching_ids
-- A page of ids of matching jobs, ascending, up to an id.  No lock.
SELECT id FROM awa.jobs
WHERE id > :after::bigint AND id <= :upto::bigint
  AND (:state::awa.job_state IS NULL OR state = :state::awa.job_state)
  AND state = ANY(:states::awa.job_state[])
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
  AND (:created_after::timestamptz IS NULL OR created_at >= :created_after::timestamptz)
  AND (:created_before::timestamptz IS NULL OR created_at < :created_before::timestamptz)
  AND (:args::jsonb IS NULL OR args @> :args::jsonb)
  AND (:error::text IS NULL
       OR strpos(errors[cardinality(errors)] ->> 'error', :error::text) > 0)
  AND (:failure::text IS NULL
       OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY id
LIMIT :limit::int

-- name: still_fit
-- The jobs that still match, of jobs that were locked before.  Primary keys.
SELECT id FROM awa.jobs
WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
  AND (:state::text IS NULL OR state::text = :state::text)
  AND state::text = ANY(:states::text[])
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
  AND (:created_after::timestamptz IS NULL OR created_at >= :created_after::timestamptz)
  AND (:created_before::timestamptz IS NULL OR created_at < :created_before::timestamptz)
  AND (:args::jsonb IS NULL OR args @> :args::jsonb)
  AND (:error::text IS NULL
       OR strpos(errors[cardinality(errors)] ->> 'error', :error::text) > 0)
  AND (:failure::text IS NULL
       OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY id

-- name: lock_jobs
-- Lock the jobs with these ids that no other session has locked, in id order, hot table first.
WITH hot AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), cold AS MATERIALIZED (
    SELECT id FROM awa.scheduled_jobs WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
SELECT id FROM hot UNION ALL SELECT id FROM cold

-- name: delete
-- Delete ended jobs, with their results and logs; their unique claims go with them (trigger).
WITH gone AS (
    DELETE FROM awa.jobs_hot
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
      AND state::text IN ('completed', 'failed', 'cancelled')
    RETURNING id
), results AS (
    DELETE FROM awa.job_results WHERE job_id = ANY(ARRAY(SELECT id FROM gone))
), logs AS (
    DELETE FROM awa.job_logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))
)
SELECT id FROM gone

-- name: set_priority
-- Change the priority of waiting jobs; aging restarts from it.
WITH hot AS (
    UPDATE awa.jobs_hot
    SET priority = :priority::smallint, metadata = metadata - '_awa_original_priority'
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND state::text = 'available'
    RETURNING id
), cold AS (
    UPDATE awa.scheduled_jobs
    SET priority = :priority::smallint, metadata = metadata - '_awa_original_priority'
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
    RETURNING id
)
SELECT id FROM hot UNION ALL SELECT id FROM cold

-- name: move_queue
-- Move waiting jobs to another queue and wake its workers.
WITH hot AS (
    UPDATE awa.jobs_hot SET queue = :to_queue::text
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND state::text = 'available'
    RETURNING id
), cold AS (
    UPDATE awa.scheduled_jobs SET queue = :to_queue::text
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
    RETURNING id
), notified AS MATERIALIZED (
    SELECT pg_notify('awa:' || :to_queue::text, '')
    WHERE octet_length(:to_queue::text) <= 59 AND EXISTS (SELECT FROM hot)
)
SELECT id FROM (SELECT id FROM hot UNION ALL SELECT id FROM cold) AS moved
WHERE (SELECT count(*) FROM notified) >= 0 -- a CTE that is not read does not run
-- name: advance
-- Record a batch, in its transaction.  A batch that only found jobs that are still locked counts
-- as a failure, so that other operations get their turn.  Steps grow again.
UPDATE awa.bulk_operations
SET state = CASE WHEN :over::boolean THEN 'completed' ELSE 'running' END,
    started_at = coalesce(started_at, now()),
    finished_at = CASE WHEN :over::boolean THEN clock_timestamp() END,
    cursor = :cursor::bigint, deferred = :deferred::bigint[],
    processed = processed + :processed::int, skipped = skipped + :skipped::int,
    errored = errored + :errored::int, last_error = coalesce(:last_error::text, last_error),
    failures = CASE WHEN :stuck::boolean THEN failures + 1 ELSE 0 END,
    failing_since = CASE WHEN :stuck::boolean THEN coalesce(failing_since, now()) END,
    retry_at = CASE WHEN :stuck::boolean
        THEN now() + make_interval(secs => least(60, 2 ^ least(failures, 6))) END,
    batch = least(500, batch * 2), span = span * 2
WHERE id = :id::uuid

-- name: put_off
-- Record that a batch failed temporarily, in a transaction of its own: other operations get their
-- turn, and the next try takes smaller steps.  After 20 failures in a row within at least 10
-- minutes the operation fails.
WITH chosen AS MATERIALIZED (
    SELECT id, failures >= 19 AND failing_since <= now() - interval '10 minutes' AS over
    FROM awa.bulk_operations
    WHERE id = :id::uuid AND state IN ('pending', 'running')
    FOR UPDATE SKIP LOCKED
)
UPDATE awa.bulk_operations AS b
SET failures = failures + 1, failing_since = coalesce(failing_since, now()),
    retry_at = now() + make_interval(secs => least(60, 2 ^ least(failures, 6))),
    batch = greatest(1, batch / 2),
    span = greatest(50, coalesce(span, last_id - cursor) / 4),
    last_error = :last_error::text,
    state = CASE WHEN chosen.over THEN 'failed' ELSE state END,
    started_at = coalesce(started_at, now()),
    finished_at = CASE WHEN chosen.over THEN now() END
FROM chosen
WHERE b.id = chosen.id
RETURNING b.state

-- name: fail
-- Fail a bulk operation that cannot continue.
UPDATE awa.bulk_operations
SET state = 'failed', finished_at = now(), last_error = :last_error::text
WHERE id = :id::uuid AND state IN ('pending', 'running')
