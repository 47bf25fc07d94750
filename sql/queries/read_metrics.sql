-- Read what a monitoring system scrapes every few seconds.  No lock; the cost of each is bounded.

-- name: recent_ends
-- Jobs that ended recently: their number by queue, kind and state, and how long they waited and
-- ran, in buckets.  Reads at most the last limit entries of each index, so that a busy minute
-- costs no more than a quiet one; covered is how far back these reach, in seconds.  Indexes
-- completed_finalized and unsuccessful_finalized, both from the newest on.
WITH completed AS MATERIALIZED (
    SELECT queue, kind, state, run_at, attempted_at, finalized_at
    FROM awa.jobs_hot
    WHERE state = 'completed' AND finalized_at > now() - make_interval(secs => :seconds::float8)
    ORDER BY finalized_at DESC
    LIMIT :limit::int
), unsuccessful AS MATERIALIZED (
    SELECT queue, kind, state, run_at, attempted_at, finalized_at
    FROM awa.jobs_hot
    WHERE state IN ('failed', 'cancelled')
      AND finalized_at > now() - make_interval(secs => :seconds::float8)
    ORDER BY finalized_at DESC
    LIMIT :limit::int
), ended AS (
    SELECT *, (SELECT CASE WHEN count(*) < :limit::int THEN :seconds::float8
                           ELSE extract(epoch FROM now() - min(finalized_at)) END
               FROM completed) AS covered
    FROM completed
    UNION ALL
    SELECT *, (SELECT CASE WHEN count(*) < :limit::int THEN :seconds::float8
                           ELSE extract(epoch FROM now() - min(finalized_at)) END
               FROM unsuccessful)
    FROM unsuccessful
), timed AS (
    SELECT queue, greatest(extract(epoch FROM attempted_at - run_at)::float8, 0) AS waited,
           greatest(extract(epoch FROM finalized_at - attempted_at)::float8, 0) AS ran
    FROM completed
    WHERE attempted_at IS NOT NULL
)
SELECT 'ended' AS what, queue, kind, state::text AS state, 0 AS bucket, count(*) AS jobs,
       greatest(max(covered), 0.001)::float8 AS amount
FROM ended
GROUP BY queue, kind, state
UNION ALL
SELECT 'waited', queue, NULL, NULL, width_bucket(waited, :bounds::float8[]), count(*), sum(waited)
FROM timed
GROUP BY queue, 5
UNION ALL
SELECT 'ran', queue, NULL, NULL, width_bucket(ran, :bounds::float8[]), count(*), sum(ran)
FROM timed
GROUP BY queue, 5

-- name: workflow_counts
-- Workflows by state: those that are open, and those that ended recently, with their tasks by state.
-- Reads at most limit rows of each, the newest first; covered is how far back these ends reach, in
-- seconds.  Indexes awa_workflows_open and awa_workflows_finished.
SELECT state, count(*) AS workflows, sum(waiting) AS waiting, sum(started) AS started,
       sum(succeeded) AS succeeded, sum(failed) AS failed, sum(cancelled) AS cancelled,
       sum(skipped) AS skipped, min(covered)::float8 AS covered
FROM (
    SELECT *, NULL::float8 AS covered
    FROM (
        SELECT * FROM awa.workflows WHERE state = 'open' ORDER BY id DESC LIMIT :limit::int
    ) AS still_open
    UNION ALL
    SELECT *, CASE WHEN count(*) OVER () < :limit::int THEN :seconds::float8
                   ELSE greatest(extract(epoch FROM now() - min(finished_at) OVER ()), 0.001) END
    FROM (
        SELECT * FROM awa.workflows
        WHERE finished_at > now() - make_interval(secs => :seconds::float8) AND state <> 'open'
        ORDER BY finished_at DESC
        LIMIT :limit::int
    ) AS ended
) AS found
GROUP BY state

-- name: database_health
-- The state of the server that a queue depends on.  An open transaction keeps dead rows.  A role
-- that may not see other sessions gets smaller numbers.
SELECT pg_database_size(current_database()) AS size_bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
       current_setting('max_connections')::int AS max_connections,
       pg_is_in_recovery() AS standby,
       coalesce((SELECT extract(epoch FROM now() - min(xact_start))::float8
                 FROM pg_stat_activity
                 WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()), 0)
           AS oldest_transaction_seconds

-- name: table_health
-- Live rows, dead rows and sizes of the tables of jobs.
SELECT relname::text AS name, n_live_tup AS live_rows, n_dead_tup AS dead_rows,
       pg_total_relation_size(relid) AS size_bytes,
       extract(epoch FROM greatest(last_vacuum, last_autovacuum))::float8 AS vacuumed_at
FROM pg_stat_user_tables
WHERE schemaname = 'awa'
  AND relname IN ('jobs_hot', 'scheduled_jobs', 'job_unique_claims', 'dead_letters')
ORDER BY relname
