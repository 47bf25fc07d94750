-- Read counts of ends over time by queue and by failure, and failures that only rows show.  No
-- lock.  Counts are read along the primary key whatever the statistics say: minutes is compared
-- with a value that the planner does not know.

-- name: ends_by_queue
-- Completed jobs and failed attempts of each queue in buckets of some seconds.
SELECT queue, floor(extract(epoch FROM bucket) / :seconds::int)::bigint AS number,
       coalesce(sum(ends) FILTER (WHERE outcome = 'completed'), 0)::bigint AS completed,
       coalesce(sum(ends) FILTER (WHERE outcome IN ('failed', 'retried')), 0)::bigint AS failed
FROM awa.job_ends
WHERE minutes = :minutes::smallint AND bucket >= :since::timestamptz
  AND outcome IN ('completed', 'failed', 'retried')
GROUP BY 1, 2
ORDER BY 1, 2

-- name: ends_by_failure
-- Attempts that failed, by failure, in buckets of some seconds.
SELECT failure, floor(extract(epoch FROM bucket) / :seconds::int)::bigint AS number,
       sum(ends)::bigint AS failed
FROM awa.job_ends
WHERE minutes = :minutes::smallint AND bucket >= :since::timestamptz
  AND outcome IN ('failed', 'retried', 'cancelled') AND failure = ANY(:failures::text[])
GROUP BY 1, 2
ORDER BY 1, 2

-- name: ungrouped
-- Jobs that failed since a time and whose latest error names no failure, by kind and text: of the
-- newest depth failed jobs, and as many dead letters.  Index awa_jobs_hot_unsuccessful_finalized
-- and the primary key of dead letters, from the newest on.
SELECT kind, array_agg(DISTINCT queue ORDER BY queue) AS queues, text,
       count(*)::bigint AS failed, min(at) AS first_seen_at, max(at) AS last_seen_at,
       (array_agg(id ORDER BY at DESC))[1] AS job_id,
       (array_agg(dead ORDER BY at DESC))[1] AS dead
FROM (
    SELECT id, kind, queue, at, dead, left(split_part(error ->> 'error', E'\n', 1), 300) AS text
    FROM (
        (SELECT id, kind, queue, finalized_at AS at, false AS dead,
                errors[cardinality(errors)] AS error
         FROM awa.jobs_hot
         WHERE state IN ('failed', 'cancelled') AND state = 'failed'
           AND finalized_at >= :since::timestamptz
         ORDER BY finalized_at DESC
         LIMIT :depth::int)
        UNION ALL
        (SELECT id, kind, queue, dead_at, true, errors[cardinality(errors)]
         FROM awa.dead_letters
         ORDER BY id DESC
         LIMIT :depth::int)
    ) AS newest
    WHERE at >= :since::timestamptz AND (error ->> 'failure') IS NULL
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND (:kind::text IS NULL OR kind = :kind::text)
) AS found
GROUP BY kind, text
ORDER BY failed DESC, kind, text
LIMIT :limit::int

-- name: recent
-- How attempts ended in the last seconds, by queue, kind and outcome, and the seconds that this
-- covers: whole minutes.
SELECT queue, kind, outcome, sum(ends)::bigint AS ends,
       extract(epoch FROM now() - date_trunc(
           'minute', now() - make_interval(secs => :seconds::float8), 'UTC'))::float8 AS covered
FROM awa.job_ends
WHERE minutes = :minutes::smallint
  AND bucket >= date_trunc('minute', now() - make_interval(secs => :seconds::float8), 'UTC')
  AND outcome IN ('completed', 'failed', 'cancelled', 'retried')
GROUP BY 1, 2, 3
