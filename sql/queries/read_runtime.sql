-- Read the worker fleet.

-- name: runtime_instances
-- One row per worker process, the most recently seen first.  A stale process has missed three
-- snapshots.  No lock; the table is small.
SELECT instance_id::text AS instance_id, hostname, pid, version, storage_capability, started_at,
       last_seen_at, snapshot_interval_ms,
       last_seen_at + make_interval(secs => greatest(
           3 * greatest(snapshot_interval_ms, 1000) / 1000.0, 30)) < now() AS stale,
       healthy, postgres_connected, poll_loop_alive, heartbeat_alive, maintenance_alive,
       shutting_down, leader, global_max_workers, queues::text AS queues
FROM awa.runtime_instances
ORDER BY last_seen_at DESC, instance_id

-- name: count_workers
-- For each of these queues, how many live workers could run the rarest of these kinds.  Workers of
-- one program are alike and counted together.  No lock; the table is small.
WITH live AS MATERIALIZED (
    SELECT jsonb_path_query_array(queues, '$[*].queue') AS queues,
           job_kind_descriptor_hashes AS kinds, count(*) AS workers
    FROM awa.runtime_instances
    WHERE last_seen_at > now() - interval '30 seconds' AND NOT shutting_down
    GROUP BY 1, 2
)
SELECT queue, min(workers)::int AS workers
FROM (
    SELECT q.queue, k.kind, sum(live.workers) AS workers
    FROM unnest(:queues::text[]) AS q(queue)
    CROSS JOIN unnest(:kinds::text[]) AS k(kind)
    JOIN live ON live.queues ? q.queue AND live.kinds ? k.kind
    GROUP BY q.queue, k.kind
) AS shared
GROUP BY queue
ORDER BY queue
