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
