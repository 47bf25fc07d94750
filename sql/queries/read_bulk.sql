-- Bulk operations as people and tools look at them.

-- name: get
-- One operation.  Primary key.
SELECT :bulk_operation.*
FROM awa.bulk_operations
WHERE id = :id::uuid

-- name: list
-- The latest operations, newest first.  The table is small.
SELECT :bulk_operation.*
FROM awa.bulk_operations
WHERE :state::text IS NULL OR state = :state::text
ORDER BY submitted_at DESC, id
LIMIT :limit::int
