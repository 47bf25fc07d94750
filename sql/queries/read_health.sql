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
