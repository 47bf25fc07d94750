-- Health of the database as one process sees it.

-- name: ping
-- Nothing but a round trip.
SELECT 1 AS alive

-- name: available_counts
-- Jobs ready to run, by queue.  Index idx_awa_jobs_hot_dequeue.
SELECT queue, count(*) AS available
FROM awa.jobs_hot
WHERE state = 'available' AND queue = ANY(:queues::text[])
GROUP BY queue
ORDER BY queue

-- name: is_read_only
-- On a standby the first setting is on too.  default_transaction_read_only decides it elsewhere.
SELECT current_setting('transaction_read_only')::boolean

-- name: is_at_work
-- Whether the session of this process works on a statement, or has done so a moment ago.  One that
-- is gone or idle never will: what was sent to it did not arrive, or its answer was lost.  A server
-- that does not say what its sessions do gives the benefit of the doubt.  No lock.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE pid = :pid::int
      AND (coalesce(state, '') NOT LIKE 'idle%' OR state_change > now() - interval '2 seconds')
) AS at_work
