-- The storage transition.

-- name: prepare
-- Record the engine to move to.  Jobs are still stored as before.
SELECT state FROM awa.storage_prepare(:engine::text, :details::jsonb)

-- name: abort
-- Abort a prepared transition.  Does nothing when none is prepared.
SELECT state FROM awa.storage_abort()
