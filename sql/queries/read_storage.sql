-- Read the storage transition.

-- name: storage_report
-- The record of the transition, with what blocks its next step.  No lock.  Counts the live jobs of
-- both tables; in the hot table by the partial indexes claim_by_kind, running_by_queue and
-- unsuccessful.
WITH status AS (
    SELECT * FROM awa.storage_status()
), prepared AS (
    SELECT CASE
               WHEN 'queue_storage' IN (status.prepared_engine, status.active_engine)
               THEN coalesce(status.details ->> 'schema', 'awa_exp')
           END AS schema
    FROM status
), live AS (
    SELECT storage_capability, count(*) AS instances
    FROM awa.runtime_instances
    WHERE last_seen_at + make_interval(secs => greatest(
              3 * greatest(snapshot_interval_ms, 1000) / 1000.0, 30)) >= now()
    GROUP BY storage_capability
)
SELECT status.current_engine, status.active_engine, status.prepared_engine, status.state,
       status.transition_epoch, status.details::text AS details, status.entered_at,
       status.updated_at, status.finalized_at,
       (SELECT count(*) FROM awa.jobs_hot
        WHERE state BETWEEN 'available' AND 'available')
           + (SELECT count(*) FROM awa.jobs_hot WHERE state = 'running')
           + (SELECT count(*) FROM awa.jobs_hot WHERE state = 'waiting_external')
           + (SELECT count(*) FROM awa.scheduled_jobs) AS canonical_live_backlog,
       prepared.schema AS prepared_queue_storage_schema,
       prepared.schema IS NOT NULL
           AND to_regclass(quote_ident(prepared.schema) || '.queue_ring_state') IS NOT NULL
           AND to_regclass(quote_ident(prepared.schema) || '.ready_entries') IS NOT NULL
           AND to_regclass(quote_ident(prepared.schema) || '.leases') IS NOT NULL
           AS prepared_schema_ready,
       (SELECT coalesce(jsonb_object_agg(storage_capability, instances), '{}')::text FROM live)
           AS live_runtime_capability_counts
FROM status CROSS JOIN prepared
