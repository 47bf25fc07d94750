-- Read what workers declare of queues and kinds.  Small tables; no lock.

-- name: queue_declarations
-- Descriptors: whether they are stale, and whether live workers declare different ones.
WITH live AS (
    SELECT queue_descriptor_hashes AS hashes
    FROM awa.runtime_instances
    WHERE last_seen_at + make_interval(secs => greatest(
        3 * greatest(snapshot_interval_ms, 1000) / 1000.0, 30)) >= now()
), declared AS (
    SELECT h.key AS name, count(*) AS instances, count(DISTINCT h.value) AS versions
    FROM live
    CROSS JOIN LATERAL jsonb_each_text(live.hashes) AS h
    GROUP BY h.key
)
SELECT name, :declaration.*
FROM (SELECT queue AS name, * FROM awa.queue_descriptors) AS d
FULL JOIN declared USING (name)

-- name: kind_declarations
-- Descriptors: whether they are stale, and whether live workers declare different ones.
WITH live AS (
    SELECT job_kind_descriptor_hashes AS hashes
    FROM awa.runtime_instances
    WHERE last_seen_at + make_interval(secs => greatest(
        3 * greatest(snapshot_interval_ms, 1000) / 1000.0, 30)) >= now()
), declared AS (
    SELECT h.key AS name, count(*) AS instances, count(DISTINCT h.value) AS versions
    FROM live
    CROSS JOIN LATERAL jsonb_each_text(live.hashes) AS h
    GROUP BY h.key
)
SELECT name, :declaration.*
FROM (SELECT kind AS name, * FROM awa.job_kind_descriptors) AS d
FULL JOIN declared USING (name)

-- name: kind_counts
-- Jobs by kind.  All but the total are counted now, each branch by one partial index:
-- claim_by_kind (by its own predicate: without it a million jobs took 158 ms instead of 31),
-- running_by_queue, unsuccessful, completed_finalized, the cold table, and a scan
-- of dead letters.  The total is the leader's cached count: there can be millions of completed
-- jobs.
WITH jobs AS (
    SELECT kind, queue, 'available' AS state, count(*) AS jobs
    FROM awa.jobs_hot WHERE state BETWEEN 'available' AND 'available' GROUP BY kind, queue
    UNION ALL
    SELECT kind, queue, 'running', count(*)
    FROM awa.jobs_hot WHERE state = 'running' GROUP BY kind, queue
    UNION ALL
    SELECT kind, queue, state::text, count(*)
    FROM awa.jobs_hot WHERE state IN ('failed', 'waiting_external') GROUP BY kind, queue, state
    UNION ALL
    SELECT kind, queue, 'completed', count(*)
    FROM awa.jobs_hot
    WHERE state = 'completed' AND finalized_at > now() - interval '1 hour'
    GROUP BY kind, queue
    UNION ALL
    SELECT kind, queue, state::text, count(*)
    FROM awa.scheduled_jobs GROUP BY kind, queue, state
    UNION ALL
    SELECT kind, queue, 'dead', count(*) FROM awa.dead_letters GROUP BY kind, queue
)
SELECT kind, coalesce(max(c.ref_count), 0) AS job_count, count(DISTINCT queue) AS queue_count,
       coalesce(sum(jobs) FILTER (WHERE state = 'scheduled'), 0)::bigint AS scheduled,
       coalesce(sum(jobs) FILTER (WHERE state = 'available'), 0)::bigint AS available,
       coalesce(sum(jobs) FILTER (WHERE state = 'retryable'), 0)::bigint AS retryable,
       coalesce(sum(jobs) FILTER (WHERE state = 'running'), 0)::bigint AS running,
       coalesce(sum(jobs) FILTER (WHERE state = 'failed'), 0)::bigint AS failed,
       coalesce(sum(jobs) FILTER (WHERE state = 'waiting_external'), 0)::bigint AS waiting_external,
       coalesce(sum(jobs) FILTER (WHERE state = 'completed'), 0)::bigint AS completed_last_hour,
       coalesce(sum(jobs) FILTER (WHERE state = 'dead'), 0)::bigint AS dead_letters
FROM jobs
FULL JOIN (SELECT kind, ref_count FROM awa.job_kind_catalog WHERE ref_count > 0) AS c USING (kind)
GROUP BY kind

-- name: described
-- The descriptors of these queues and kinds; of is queue or kind.  Primary keys.
SELECT 'queue' AS of, queue AS name, display_name, description, owner, docs_url,
       coalesce(tags, '{}') AS tags, coalesce(extra, '{}')::text AS extra
FROM awa.queue_descriptors
WHERE queue = ANY (:queues::text[])
UNION ALL
SELECT 'kind', kind, display_name, description, owner, docs_url, coalesce(tags, '{}'),
       coalesce(extra, '{}')::text
FROM awa.job_kind_descriptors
WHERE kind = ANY (:kinds::text[])
