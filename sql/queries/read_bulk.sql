-- Read bulk operations.

-- name: get
-- One bulk operation.  No lock; primary key.
SELECT :bulk_operation.*
FROM awa.bulk_operations
WHERE id = :id::uuid

-- name: list
-- The latest bulk operations, newest first.  No lock; the table is small.
SELECT :bulk_operation.*
FROM awa.bulk_operations
WHERE :state::text IS NULL OR state = :state::text
ORDER BY submitted_at DESC, id
LIMIT :limit::int
