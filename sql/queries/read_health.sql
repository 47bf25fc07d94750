-- Read the health of the database, as this connection sees it.

-- name: server_time
-- The time by the clock of the server.
SELECT clock_timestamp() AS now

-- name: ping
-- One round trip.
SELECT 1 AS alive

-- name: available_counts
-- Available jobs by queue.  No lock; index awa_jobs_hot_claim_by_kind.
SELECT queue, count(*) AS available
FROM awa.jobs_hot
WHERE state BETWEEN 'available' AND 'available' AND queue = ANY(:queues::text[])
GROUP BY queue
ORDER BY queue

-- name: is_read_only
-- Whether this session cannot write: on a standby, or by default_transaction_read_only.
SELECT current_setting('transaction_read_only')::boolean

-- name: is_at_work
-- Whether a session executes a statement, or did so less than two seconds ago.  If it is gone or
-- idle, the statement did not arrive, or its result was lost.  True if the server does not show
-- the state of its sessions.  No lock.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE pid = :pid::int
      AND (coalesce(state, '') NOT LIKE 'idle%' OR state_change > now() - interval '2 seconds')
) AS at_work

-- name: may_change
-- Whether this session can write at all, and its role may insert or change jobs or their queues.
SELECT NOT current_setting('transaction_read_only')::boolean AS writable,
       coalesce(has_any_column_privilege(to_regclass('awa.jobs_hot'), 'INSERT, UPDATE'), false)
       OR coalesce(has_table_privilege(to_regclass('awa.queue_meta'), 'INSERT'), false)
       OR coalesce(has_table_privilege(to_regclass('awa.dead_letters'), 'DELETE'), false)
       OR coalesce(has_table_privilege(to_regclass('awa.cron_jobs'), 'UPDATE'), false) AS allowed
