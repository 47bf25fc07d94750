-- Read the worker fleet.

-- name: runtime_instances
-- One row per worker process, the most recently seen first.  A process is stale that has missed
-- three snapshots, and sooner one whose session has ended without a clean stop, or from which jobs
-- were rescued since its last snapshot.  A standby does not know the sessions, and a pooler or a
-- worker of awa 0.5 names none.  No lock; awa_worker_processes_instance.
SELECT r.instance_id::text AS instance_id, r.hostname, r.pid, r.version, p.app_version,
       r.storage_capability, r.started_at, r.last_seen_at, r.snapshot_interval_ms, dead.stale,
       coalesce(p.session_ended, false) AS session_ended, p.rescued_at,
       r.healthy AND NOT dead.stale AS healthy, r.postgres_connected, r.poll_loop_alive,
       r.heartbeat_alive, r.maintenance_alive, r.shutting_down, r.leader, r.global_max_workers,
       r.queues::text AS queues
FROM awa.runtime_instances AS r
LEFT JOIN LATERAL (
    SELECT app_version,
           stopped_at IS NULL AND session IS NOT NULL AND NOT pg_is_in_recovery()
               AND session NOT IN (SELECT pid FROM pg_stat_activity)
               AS session_ended,
           CASE WHEN rescued_at > r.last_seen_at THEN rescued_at END AS rescued_at
    FROM awa.worker_processes
    WHERE instance_id = r.instance_id
    ORDER BY last_seen_at DESC
    LIMIT 1
) AS p ON true
CROSS JOIN LATERAL (
    SELECT r.last_seen_at + make_interval(secs => greatest(
               3 * greatest(r.snapshot_interval_ms, 1000) / 1000.0, 30)) < now()
           OR p.session_ended IS TRUE OR p.rescued_at IS NOT NULL AS stale
) AS dead
ORDER BY r.last_seen_at DESC, r.instance_id

-- name: published_workers
-- Workers of awa 0.5 that were seen within a day: they have no row in worker_processes.  No lock;
-- index awa_worker_processes_instance.
SELECT coalesce(r.hostname, 'unknown host') || ':' || r.pid AS name, r.version,
       r.last_seen_at,
       r.last_seen_at + make_interval(secs => greatest(
           3 * greatest(r.snapshot_interval_ms, 1000) / 1000.0, 30)) >= now() AS live
FROM awa.runtime_instances AS r
WHERE r.last_seen_at > now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM awa.worker_processes AS p WHERE p.instance_id = r.instance_id)
ORDER BY r.last_seen_at DESC

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
