-- Read the number of jobs over time.  No lock.

-- name: created_series
-- Jobs created in each of the last minutes, by their state now.  created_at has no index, but ids
-- grow with it: rows at powers of four behind the newest id, each found by a primary key, show
-- where to start; one minute more covers transactions that were open for long.
WITH moment AS (
    SELECT now() - make_interval(mins => :minutes::int) AS since,
           greatest((SELECT max(id) FROM awa.jobs_hot), (SELECT max(id) FROM awa.scheduled_jobs), 0)
               AS newest
), start AS (
    SELECT coalesce(max(old.id), 0) AS id
    FROM moment
    CROSS JOIN generate_series(4, 31) AS power
    CROSS JOIN LATERAL (
        SELECT id, created_at FROM awa.jobs_hot
        WHERE id <= newest - (2::bigint ^ (2 * power))::bigint
        ORDER BY id DESC
        LIMIT 1
    ) AS old
    WHERE old.created_at < since - interval '1 minute'
)
SELECT date_trunc('minute', created_at) AS bucket, state::text AS state, count(*) AS count
FROM (
    SELECT id, created_at, state FROM awa.jobs_hot
    UNION ALL
    SELECT id, created_at, state FROM awa.scheduled_jobs
) AS jobs
WHERE id > (SELECT id FROM start) AND created_at >= (SELECT since FROM moment)
GROUP BY bucket, state
ORDER BY bucket, state
