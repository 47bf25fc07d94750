-- The results of jobs.  Workers write them in the statement that completes the job: see
-- finish_completed_with_extras in claims.sql.

-- name: ends
-- How these jobs have ended, with their results; ids of nothing are left out.  A result counts when
-- its job has completed, or is gone.  No lock; primary keys of all four tables.
WITH found AS MATERIALIZED (
    SELECT id, kind, queue, state::text AS state, errors[cardinality(errors)] AS entry,
           CASE WHEN state::text = 'completed' THEN id END AS completed
    FROM awa.jobs
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
    UNION ALL
    SELECT id, kind, queue, 'failed', errors[cardinality(errors)], NULL
    FROM awa.dead_letters
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
), kept AS MATERIALIZED (
    SELECT job_id, value::text AS value, size_bytes, written_at, expires_at,
           expires_at <= now() OR value IS NULL AS expired
    FROM awa.job_results
    WHERE job_id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
)
SELECT coalesce(f.id, k.job_id) AS job_id, f.kind, f.queue, f.state,
       CASE WHEN f.state <> 'completed' THEN f.entry ->> 'error' END AS error,
       CASE WHEN f.state <> 'completed' THEN f.entry ->> 'type' END AS error_type,
       CASE WHEN NOT k.expired THEN k.value END AS value,
       k.size_bytes, k.written_at, k.expires_at, k.expired
FROM found AS f
FULL JOIN kept AS k ON k.job_id = f.completed
WHERE f.id IS NOT NULL OR NOT EXISTS (SELECT FROM found WHERE found.id = k.job_id)

-- name: of_job
-- The result of a job that has not expired.  No lock; primary key.
SELECT job_id, value::text AS value, size_bytes, written_at, expires_at
FROM awa.job_results
WHERE job_id = :id::bigint AND value IS NOT NULL AND expires_at > now()

-- name: forget
-- Delete a batch of results that have expired; those whose jobs are still there lose their value,
-- and are looked at again a day later.  Locks what it takes, and passes over what is locked.  Index
-- awa_job_results_purge_at, and the primary key of awa.jobs_hot, row by row because of the limit.
WITH due AS MATERIALIZED (
    SELECT r.job_id, j.here
    FROM awa.job_results AS r
    LEFT JOIN LATERAL (
        SELECT true AS here FROM awa.jobs_hot WHERE id = r.job_id LIMIT 1
    ) AS j ON true
    WHERE r.purge_at <= now()
    ORDER BY r.purge_at
    LIMIT :limit::int
    FOR UPDATE OF r SKIP LOCKED
), gone AS (
    DELETE FROM awa.job_results
    WHERE job_id = ANY(ARRAY(SELECT job_id FROM due WHERE here IS NULL))
), emptied AS (
    UPDATE awa.job_results SET value = NULL, purge_at = now() + interval '1 day'
    WHERE job_id = ANY(ARRAY(SELECT job_id FROM due WHERE here))
)
SELECT count(*) FROM due
