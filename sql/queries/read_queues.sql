-- Read queues.

-- name: queue_stats
-- One row per queue, by name.  All jobs are counted now; the cached counters only show that a queue
-- exists.  No lock.  Each branch reads one partial index: claim_by_kind, running_by_queue,
-- unsuccessful, completed_finalized, (queue, state) of the cold table, and the queue of dead letters;
-- for this the states must be literals.
WITH available AS (
    SELECT queue, count(*) AS jobs, min(run_at) AS oldest
    FROM awa.jobs_hot
    WHERE state BETWEEN 'available' AND 'available'
    GROUP BY queue
), running AS (
    SELECT queue, count(*) AS jobs FROM awa.jobs_hot WHERE state = 'running' GROUP BY queue
), unsuccessful AS (
    SELECT queue,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'waiting_external') AS waiting_external
    FROM awa.jobs_hot
    WHERE state IN ('failed', 'waiting_external')
    GROUP BY queue
), completed AS (
    SELECT queue, count(*) AS jobs
    FROM awa.jobs_hot
    WHERE state = 'completed' AND finalized_at > now() - interval '1 hour'
    GROUP BY queue
), later AS (
    SELECT queue,
           count(*) FILTER (WHERE state = 'scheduled') AS scheduled,
           count(*) FILTER (WHERE state = 'retryable') AS retryable
    FROM awa.scheduled_jobs
    GROUP BY queue
), dead AS (
    SELECT queue, count(*) AS jobs FROM awa.dead_letters GROUP BY queue
), known AS (
    SELECT queue FROM awa.queue_state_counts
    UNION SELECT queue FROM awa.queue_meta
    UNION SELECT queue FROM awa.queue_descriptors
    UNION SELECT jsonb_object_keys(queue_descriptor_hashes) FROM awa.runtime_instances
    UNION SELECT jsonb_path_query(queues, '$[*].queue') #>> '{}' FROM awa.runtime_instances
    UNION SELECT queue FROM available
    UNION SELECT queue FROM running
    UNION SELECT queue FROM unsuccessful
    UNION SELECT queue FROM completed
    UNION SELECT queue FROM later
    UNION SELECT queue FROM dead
)
SELECT known.queue,
       coalesce(later.scheduled, 0) + coalesce(available.jobs, 0) + coalesce(running.jobs, 0)
           + coalesce(later.retryable, 0) + coalesce(unsuccessful.waiting_external, 0)
           AS total_queued,
       coalesce(later.scheduled, 0) AS scheduled,
       coalesce(available.jobs, 0) AS available,
       coalesce(later.retryable, 0) AS retryable,
       coalesce(running.jobs, 0) AS running,
       coalesce(unsuccessful.failed, 0) AS failed,
       coalesce(unsuccessful.waiting_external, 0) AS waiting_external,
       coalesce(completed.jobs, 0) AS completed_last_hour,
       extract(epoch FROM now() - CASE WHEN isfinite(available.oldest) THEN available.oldest END
       )::float8 AS lag_seconds,
       coalesce(meta.paused, false) AS paused,
       coalesce(dead.jobs, 0) AS dead_letters
FROM known
LEFT JOIN available USING (queue)
LEFT JOIN running USING (queue)
LEFT JOIN unsuccessful USING (queue)
LEFT JOIN completed USING (queue)
LEFT JOIN later USING (queue)
LEFT JOIN dead USING (queue)
LEFT JOIN awa.queue_meta AS meta USING (queue)
WHERE known.queue IS NOT NULL
ORDER BY known.queue COLLATE "C"
