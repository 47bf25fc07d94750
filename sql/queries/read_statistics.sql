-- Read statistics of all jobs.  No lock.

-- name: state_counts
-- Jobs by state.  All but completed jobs are counted now, each branch by one partial index:
-- claim_by_kind, running_by_queue, unsuccessful, and the cold table.  The number of completed jobs,
-- which can be millions, is the leader's cached count.
SELECT state, jobs FROM (
    SELECT 'available' AS state, count(*) AS jobs
    FROM awa.jobs_hot WHERE state BETWEEN 'available' AND 'available'
    UNION ALL
    SELECT 'running', count(*) FROM awa.jobs_hot WHERE state = 'running'
    UNION ALL
    SELECT state::text, count(*)
    FROM awa.jobs_hot
    WHERE state IN ('failed', 'cancelled', 'waiting_external')
    GROUP BY state
    UNION ALL
    SELECT state::text, count(*) FROM awa.scheduled_jobs GROUP BY state
    UNION ALL
    SELECT 'completed', coalesce(sum(completed), 0)::bigint FROM awa.queue_state_counts
) AS counted

-- name: ended_series
-- Completed and failed jobs in buckets of a number of seconds; buckets begin at multiples of their
-- width.  Indexes completed_finalized (index only) and unsuccessful_finalized.
SELECT (extract(epoch FROM began) / :seconds::int)::bigint AS bucket,
       sum(completed)::bigint AS completed, sum(failed)::bigint AS failed
FROM (
    SELECT date_bin(make_interval(secs => :seconds::int), finalized_at, to_timestamp(0)) AS began,
           count(*) AS completed, 0 AS failed
    FROM awa.jobs_hot
    WHERE state = 'completed' AND finalized_at >= :since::timestamptz
      AND finalized_at <= :until::timestamptz
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND (:kind::text IS NULL OR kind = :kind::text)
    GROUP BY 1
    UNION ALL
    SELECT date_bin(make_interval(secs => :seconds::int), finalized_at, to_timestamp(0)), 0,
           count(*)
    FROM awa.jobs_hot
    WHERE state IN ('failed', 'cancelled') AND state = 'failed'
      AND finalized_at >= :since::timestamptz AND finalized_at <= :until::timestamptz
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND (:kind::text IS NULL OR kind = :kind::text)
    GROUP BY 1
) AS ended
GROUP BY began
ORDER BY began

-- name: wait_series
-- How long jobs waited for their claim, by bucket of their completion: a sample of the last ten
-- jobs of each bucket, so that a thousand jobs cost as much as millions.  Index
-- completed_finalized.
SELECT b.bucket, avg(greatest(s.waited, 0))::float8 AS waited
FROM (
    SELECT generate_series(
        floor(extract(epoch FROM :since::timestamptz) / :seconds::int)::bigint,
        floor(extract(epoch FROM :until::timestamptz) / :seconds::int)::bigint
    ) AS bucket
) AS b
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM attempted_at - run_at) AS waited
    FROM awa.jobs_hot
    WHERE state = 'completed'
      AND finalized_at >= to_timestamp(b.bucket * :seconds::int)
      AND finalized_at < to_timestamp((b.bucket + 1) * :seconds::int)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND (:kind::text IS NULL OR kind = :kind::text)
    ORDER BY finalized_at DESC
    LIMIT 10
) AS s
GROUP BY b.bucket
ORDER BY b.bucket

-- name: latest_failures
-- The jobs that failed last, of all jobs or of a queue or kind.  Jobs that fail in one statement
-- have the same time, and are ordered by id.  Index unsuccessful_finalized, backwards.
SELECT id, kind, queue, attempt, max_attempts, finalized_at,
       split_part(errors[cardinality(errors)] ->> 'error', E'\n', 1) AS error
FROM awa.jobs_hot
WHERE state IN ('failed', 'cancelled') AND state = 'failed' AND finalized_at IS NOT NULL
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:kind::text IS NULL OR kind = :kind::text)
ORDER BY finalized_at DESC, id DESC
LIMIT :limit::int
