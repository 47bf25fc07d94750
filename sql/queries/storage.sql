-- The record of a storage transition.

-- name: prepare
-- Note the engine to move to.  Routing stays as it is.
SELECT state FROM awa.storage_prepare(:engine::text, :details::jsonb)

-- name: abort
-- Forget a prepared engine.  Harmless when none is.
SELECT state FROM awa.storage_abort()
