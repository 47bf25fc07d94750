-- Read counts of ends, and failures.  No lock.  A time of less than two days is read by minute,
-- a longer one by hour, both along the primary key.  The table is read by its key whatever the
-- statistics say: minutes is compared with a value that the planner does not know.

-- name: ended_since
-- How attempts ended since a time, by outcome.
SELECT outcome, sum(ends)::bigint AS ends
FROM awa.job_ends
WHERE minutes = :minutes::smallint
  AND bucket >= date_trunc(:unit::text, :since::timestamptz, 'UTC')
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:failure::text IS NULL OR failure = :failure::text)
GROUP BY outcome

-- name: ends_over_time
-- How attempts ended in buckets of some seconds, by outcome, the oldest first.
SELECT to_timestamp(floor(extract(epoch FROM bucket) / :seconds::int) * :seconds::int) AS bucket,
       outcome, sum(ends)::bigint AS ends
FROM awa.job_ends
WHERE minutes = :minutes::smallint
  AND bucket >= date_trunc(:unit::text, :since::timestamptz, 'UTC')
  AND bucket < :until::timestamptz
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:failure::text IS NULL OR failure = :failure::text)
GROUP BY 1, 2
ORDER BY 1, 2

-- name: failing_kinds
-- Kinds that fail now: how many attempts since the minute from which on nearly all failed, in which
-- queues, and the most frequent failure.  A minute is good when less than a share of its attempts
-- failed; muted failures do not count.  Only kinds that fail now are looked for further back.
WITH muted AS MATERIALIZED (
    SELECT id FROM awa.failures WHERE muted_until > now()
), minute AS (
    SELECT kind, bucket, coalesce(sum(ends) FILTER (WHERE outcome <> 'completed'), 0) AS failed,
           coalesce(sum(ends) FILTER (WHERE outcome <> 'completed'), 0)
           < :share::float8 * sum(ends) AS good
    FROM awa.job_ends
    WHERE minutes = 1
      AND bucket >= date_trunc('minute', now() - make_interval(secs => :seconds::float8), 'UTC')
      AND outcome IN ('completed', 'retried', 'failed')
      AND failure <> ALL(ARRAY(SELECT id FROM muted))
    GROUP BY kind, bucket
), failing AS MATERIALIZED (
    SELECT kind
    FROM (SELECT kind, bucket, failed, max(bucket) FILTER (WHERE good) OVER (PARTITION BY kind) AS good
          FROM minute) AS m
    WHERE good IS NULL OR bucket > good
    GROUP BY kind
    HAVING sum(failed) >= :attempts::int
    ORDER BY sum(failed) DESC, kind
    LIMIT 20
), back AS MATERIALIZED (
    SELECT kind, bucket, queue, outcome, failure, ends
    FROM awa.job_ends
    WHERE minutes = 1
      AND bucket >= date_trunc('minute', now() - make_interval(secs => :back::float8), 'UTC')
      AND outcome IN ('completed', 'retried', 'failed')
      AND failure <> ALL(ARRAY(SELECT id FROM muted))
      AND kind = ANY(ARRAY(SELECT kind FROM failing))
), turn AS (
    SELECT kind, max(bucket) AS good
    FROM (SELECT kind, bucket FROM back
          GROUP BY kind, bucket
          HAVING coalesce(sum(ends) FILTER (WHERE outcome <> 'completed'), 0)
                 < :share::float8 * sum(ends)) AS m
    GROUP BY kind
), since AS MATERIALIZED (
    SELECT back.* FROM back LEFT JOIN turn USING (kind)
    WHERE back.bucket > coalesce(turn.good, '-infinity')
), top AS (
    SELECT DISTINCT ON (kind) kind, failure
    FROM since
    WHERE failure <> ''
    GROUP BY kind, failure
    ORDER BY kind, sum(ends) DESC, failure
), total AS (
    SELECT kind, sum(ends)::bigint AS attempts, min(bucket) AS since,
           (sum(ends) FILTER (WHERE outcome <> 'completed'))::bigint AS failed,
           array_agg(DISTINCT queue ORDER BY queue) AS queues
    FROM since
    GROUP BY kind
)
SELECT total.kind, total.queues, total.attempts, total.failed, total.since, top.failure,
       f.error_type, f.message
FROM total
LEFT JOIN top USING (kind)
LEFT JOIN awa.failures AS f ON f.id = top.failure
ORDER BY total.failed DESC, total.kind COLLATE "C"

-- name: ends_by_minute
-- How many attempts ended in each queue, by minutes ago; the minute that is not over is 0.
SELECT queue,
       (extract(epoch FROM date_trunc('minute', now(), 'UTC') - bucket) / 60)::int AS ago,
       sum(ends)::bigint AS ends
FROM awa.job_ends
WHERE minutes = 1 AND outcome <> 'requeued'
  AND bucket >= date_trunc('minute', now() - make_interval(mins => :minutes::int), 'UTC')
GROUP BY 1, 2

-- name: badges
-- How many failures were seen in the last hour and are not muted, and how many dead letters there
-- are: at most 10,000, so that the cost does not grow with them.
SELECT (SELECT count(*) FROM awa.failures
        WHERE last_seen_at > now() - interval '1 hour'
          AND (muted_until IS NULL OR muted_until <= now())) AS failures,
       (SELECT count(*) FROM (SELECT FROM awa.dead_letters LIMIT 10000) AS found) AS dead_letters

-- name: list_failures
-- The failures since a time, the most frequent first.
WITH counted AS MATERIALIZED (
    SELECT failure, queue, kind,
           sum(ends) FILTER (WHERE outcome = 'failed') AS failed,
           sum(ends) FILTER (WHERE outcome = 'retried') AS retried,
           sum(ends) FILTER (WHERE outcome = 'cancelled') AS cancelled,
           sum(ends) FILTER (WHERE outcome = 'requeued') AS requeued
    FROM awa.job_ends
    WHERE minutes = :minutes::smallint
      AND bucket >= date_trunc(:unit::text, :since::timestamptz, 'UTC')
      AND failure <> ''
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND (:kind::text IS NULL OR kind = :kind::text)
      AND (:failure::text IS NULL OR failure = :failure::text)
    GROUP BY failure, queue, kind
), totals AS (
    SELECT failure, coalesce(sum(failed), 0)::bigint AS failed,
           coalesce(sum(retried), 0)::bigint AS retried,
           coalesce(sum(cancelled), 0)::bigint AS cancelled,
           coalesce(sum(requeued), 0)::bigint AS requeued,
           array_agg(DISTINCT queue ORDER BY queue) AS queues,
           array_agg(DISTINCT kind ORDER BY kind) AS kinds
    FROM counted
    GROUP BY failure
)
SELECT f.id, f.error_type, f.message, f.frames, f.first_seen_at, f.last_seen_at, f.first_version,
       CASE WHEN f.muted_until > now() THEN f.muted_until END AS muted_until, f.job_id,
       coalesce(t.failed, 0) AS failed, coalesce(t.retried, 0) AS retried,
       coalesce(t.cancelled, 0) AS cancelled, coalesce(t.requeued, 0) AS requeued,
       coalesce(t.queues, '{}') AS queues, coalesce(t.kinds, ARRAY[f.kind]) AS kinds
FROM awa.failures AS f
LEFT JOIN totals AS t ON t.failure = f.id
WHERE (t.failure IS NOT NULL OR f.id = :failure::text)
  AND (:failure::text IS NULL OR f.id = :failure::text)
  AND (:muted::boolean OR f.muted_until IS NULL OR f.muted_until <= now())
ORDER BY coalesce(t.failed, 0) + coalesce(t.retried, 0) + coalesce(t.cancelled, 0) DESC,
         f.last_seen_at DESC, f.id
LIMIT :limit::int

-- name: failed_jobs
-- The jobs whose last attempt failed so, the latest first: of the newest failed jobs, dead letters
-- and jobs that wait for a retry, depth of each.  Index awa_jobs_hot_unsuccessful_finalized and
-- primary keys, from the newest on.
SELECT id, kind, queue, state, attempt, at, error
FROM (
    (SELECT id, kind, queue, state::text AS state, attempt, finalized_at AS at,
            errors[cardinality(errors)] ->> 'failure' AS failure,
            errors[cardinality(errors)] ->> 'error' AS error
     FROM awa.jobs_hot
     WHERE state IN ('failed', 'cancelled')
     ORDER BY finalized_at DESC NULLS LAST
     LIMIT :depth::int)
    UNION ALL
    (SELECT id, kind, queue, state::text, attempt, finalized_at,
            errors[cardinality(errors)] ->> 'failure', errors[cardinality(errors)] ->> 'error'
     FROM awa.scheduled_jobs
     WHERE state = 'retryable'
     ORDER BY run_at DESC
     LIMIT :depth::int)
    UNION ALL
    (SELECT id, kind, queue, 'dead', attempt, dead_at,
            errors[cardinality(errors)] ->> 'failure', errors[cardinality(errors)] ->> 'error'
     FROM awa.dead_letters
     ORDER BY id DESC
     LIMIT :depth::int)
) AS newest
WHERE failure = :failure::text
ORDER BY at DESC NULLS LAST, id DESC
LIMIT :limit::int
