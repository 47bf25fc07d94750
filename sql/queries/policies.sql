-- Policies: settings of queues for the whole fleet.  The columns that are not read here belong to
-- the claims.

-- name: set_queue_policy
-- Change settings of a queue; settings that the object does not have stay.  Locks the queue's row.
WITH changed AS (
    INSERT INTO awa.queue_policies AS p (
        queue, max_running, max_running_per_key, max_rate, burst, poll_interval_ms, claim_batch,
        deadline_seconds, completed_retention_hours, failed_retention_hours)
    SELECT :queue::text, c.max_running, c.max_running_per_key, c.max_rate, c.burst,
           c.poll_interval_ms, c.claim_batch, c.deadline_seconds, c.completed_retention_hours,
           c.failed_retention_hours
    FROM jsonb_populate_record(NULL::awa.queue_policies, :changes::jsonb) AS c
    ON CONFLICT (queue) DO UPDATE
    SET (max_running, max_running_per_key, max_rate, burst, poll_interval_ms, claim_batch,
         deadline_seconds, completed_retention_hours, failed_retention_hours, updated_at) = (
        SELECT c.max_running, c.max_running_per_key, c.max_rate, c.burst, c.poll_interval_ms,
               c.claim_batch, c.deadline_seconds, c.completed_retention_hours,
               c.failed_retention_hours, now()
        FROM jsonb_populate_record(p, :changes::jsonb) AS c)
    RETURNING p.*
), notified AS (
    SELECT pg_notify('awa_policy', queue) FROM changed
)
SELECT :queue_policy.*
FROM changed CROSS JOIN notified

-- name: list_queue_policies
-- The policies of some queues, or of all.  No lock; primary key.
SELECT :queue_policy.*
FROM awa.queue_policies
WHERE :queues::text[] IS NULL OR queue = ANY (:queues::text[])
ORDER BY queue
