-- Bulk operations as people and tools look at them.

-- name: get
-- One operation.  Primary key.
SELECT id::text AS id, operation, filter, spec, state, cursor, total_matched, processed, skipped,
       errored, last_error, submitted_by, submitted_at, started_at, finished_at
FROM awa.bulk_operations
WHERE id = :id::uuid

-- name: list
-- The latest operations, newest first.  The table is small.
SELECT id::text AS id, operation, filter, spec, state, cursor, total_matched, processed, skipped,
       errored, last_error, submitted_by, submitted_at, started_at, finished_at
FROM awa.bulk_operations
WHERE :state::text IS NULL OR state = :state::text
ORDER BY submitted_at DESC, id
LIMIT :limit::int

-- name: matching_states
-- How many of the jobs that fit are in each state, as the preview of a change counts them.  No
-- lock; reads the tables once.
SELECT state::text AS state, count(*) AS jobs
FROM awa.jobs
WHERE state = ANY(:states::awa.job_state[])
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
  AND (:created_after::timestamptz IS NULL OR created_at >= :created_after::timestamptz)
  AND (:created_before::timestamptz IS NULL OR created_at < :created_before::timestamptz)
  AND (:args::jsonb IS NULL OR args @> :args::jsonb)
  AND (:error::text IS NULL
       OR strpos(errors[cardinality(errors)] ->> 'error', :error::text) > 0)
GROUP BY state
ORDER BY count(*) DESC, state
