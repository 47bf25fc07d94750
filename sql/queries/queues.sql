-- Queues: pause, resume.

-- name: pause_queue
-- Stop claims of a queue; running jobs go on.  Creates the row for an unknown queue.
INSERT INTO awa.queue_meta (queue, paused, paused_at, paused_by)
VALUES (:queue::text, true, now(), :paused_by::text)
ON CONFLICT (queue) DO UPDATE
SET paused = true, paused_at = excluded.paused_at, paused_by = excluded.paused_by

-- name: resume_queue
-- Allow claims again and wake the workers; who paused it and when stays for the record.
WITH resumed AS (
    UPDATE awa.queue_meta SET paused = false WHERE queue = :queue::text AND paused
    RETURNING queue
)
SELECT pg_notify('awa:' || queue, '') FROM resumed WHERE octet_length(queue) <= 59

-- name: refresh_counts
-- Recount the cached per-state counters of every queue now.
SELECT awa.refresh_admin_metadata()
