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
