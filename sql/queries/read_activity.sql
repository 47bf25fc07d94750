-- The transitions of jobs since a time, from the rows alone.  No lock.

-- name: moment
-- The state of a poll: the clock, the transactions in progress, the newest id.
SELECT now() AS now, pg_snapshot_xmin(s)::text::bigint AS xmin,
       pg_snapshot_xmax(s)::text::bigint AS xmax,
       greatest((SELECT max(id) FROM awa.jobs_hot), (SELECT max(id) FROM awa.scheduled_jobs), 0) AS last_id
FROM pg_current_snapshot() AS s

-- name: created
-- New jobs by id: after the last id, and in ranges of ids that were not visible before; also jobs
-- that are dead letters already.  The three primary keys.
SELECT :activity.*
FROM unnest(:lows::bigint[], :highs::bigint[]) AS r(low, high)
CROSS JOIN LATERAL (
    (SELECT id, kind, queue, state, attempt, run_lease, tags, created_at, attempted_at,
            finalized_at, errors
     FROM awa.jobs WHERE id BETWEEN r.low AND r.high ORDER BY id LIMIT :limit::int)
    UNION ALL
    (SELECT id, kind, queue, state, attempt, run_lease, tags, created_at, attempted_at,
            finalized_at, errors
     FROM awa.dead_letters WHERE id BETWEEN r.low AND r.high ORDER BY id LIMIT :limit::int)
) AS j
ORDER BY id
LIMIT :limit::int

-- name: changed
-- Running jobs, and jobs whose attempt started or ended since.  Indexes running_by_queue,
-- unsuccessful, completed_finalized and unsuccessful_finalized; reads all retryable jobs.
SELECT :activity.*
FROM (
    SELECT * FROM awa.jobs_hot WHERE state = 'running'
    UNION ALL
    SELECT * FROM awa.jobs_hot WHERE state = 'completed' AND finalized_at >= :since::timestamptz
    UNION ALL
    SELECT * FROM awa.jobs_hot
    WHERE state IN ('failed', 'cancelled') AND finalized_at >= :since::timestamptz
    UNION ALL
    SELECT * FROM awa.jobs_hot
    WHERE state = 'waiting_external' AND attempted_at >= :since::timestamptz
    UNION ALL
    SELECT * FROM awa.scheduled_jobs
    WHERE state = 'retryable' AND finalized_at >= :since::timestamptz
) AS j
ORDER BY coalesce(finalized_at, attempted_at), id

-- name: by_id
-- Jobs that were running at the last poll and no longer are.  The three primary keys.
SELECT :activity.*
FROM awa.jobs
WHERE id = ANY(:ids::bigint[])
UNION ALL
SELECT :activity.*
FROM awa.dead_letters
WHERE id = ANY(:ids::bigint[])

-- name: recent
-- The newest jobs, the running jobs, and the jobs that ended last.  No lock.  The primary keys, and
-- the indexes running_by_queue, completed_finalized and unsuccessful_finalized.
SELECT :activity.*
FROM (
    (SELECT * FROM awa.jobs ORDER BY id DESC LIMIT :limit::int)
    UNION
    (SELECT * FROM awa.jobs_hot WHERE state = 'running' LIMIT :limit::int)
    UNION
    (SELECT * FROM awa.jobs_hot WHERE state = 'completed' AND finalized_at IS NOT NULL
     ORDER BY finalized_at DESC LIMIT :limit::int)
    UNION
    (SELECT * FROM awa.jobs_hot WHERE state IN ('failed', 'cancelled') AND finalized_at IS NOT NULL
     ORDER BY finalized_at DESC LIMIT :limit::int)
) AS j
