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
