-- What handlers have logged (awa.job_logs).  Written for a run as a whole, while the run goes on and
-- at its end; kept as long as the job.

-- name: write
-- Replace the logs of runs, unless a newer state of them is there, and delete all but the newest 20
-- other logs of their jobs.  Locks what it changes, in the order of the ids.  Primary key.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        :ids::bigint[], :leases::bigint[], :attempts::smallint[], :lines::text[],
        :records::bigint[], :dropped::bigint[]
    ) AS g (job_id, run_lease, attempt, lines, records, dropped)
), written AS (
    INSERT INTO awa.job_logs AS kept (job_id, run_lease, attempt, lines, records, dropped)
    SELECT job_id, run_lease, attempt, lines, records, dropped FROM given
    ORDER BY job_id, run_lease
    ON CONFLICT (job_id, run_lease) DO UPDATE
        SET lines = excluded.lines, records = excluded.records, dropped = excluded.dropped,
            updated_at = now()
        WHERE kept.records < excluded.records
)
DELETE FROM awa.job_logs
WHERE ctid = ANY (ARRAY(
    SELECT old.ctid FROM given
    CROSS JOIN LATERAL (
        SELECT other.ctid FROM awa.job_logs AS other
        WHERE other.job_id = given.job_id AND other.run_lease <> given.run_lease
        ORDER BY other.created_at DESC, other.run_lease
        OFFSET 20
    ) AS old))

-- name: read
-- The logs of a job in the order of its runs.  No lock; primary key.
SELECT job_id, attempt, run_lease, created_at, updated_at, dropped, lines
FROM awa.job_logs
WHERE job_id = :id::bigint AND (:attempt::int IS NULL OR attempt = :attempt::int)
ORDER BY created_at, run_lease

-- name: read_latest
-- The log of the newest run of a job.  No lock; primary key.
SELECT job_id, attempt, run_lease, created_at, updated_at, dropped, lines
FROM awa.job_logs
WHERE job_id = :id::bigint
ORDER BY created_at DESC, run_lease DESC
LIMIT 1

-- name: forget
-- Delete logs of jobs that are gone, of the next logs after one; returns how many were looked at,
-- and the last of them.  Primary keys: subqueries, because a NOT EXISTS may become a join that scans
-- a whole table.  A job that moves between tables is in one of them for each snapshot.
WITH page AS MATERIALIZED (
    SELECT job_id, run_lease, ctid FROM awa.job_logs
    WHERE (job_id, run_lease) > (:after_id::bigint, :after_lease::bigint)
    ORDER BY job_id, run_lease
    LIMIT :limit::int
), gone AS (
    DELETE FROM awa.job_logs
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM page
        WHERE (SELECT j.id FROM awa.jobs_hot AS j WHERE j.id = page.job_id) IS NULL
          AND (SELECT j.id FROM awa.scheduled_jobs AS j WHERE j.id = page.job_id) IS NULL
          AND (SELECT j.id FROM awa.dead_letters AS j WHERE j.id = page.job_id) IS NULL))
)
SELECT (SELECT count(*) FROM page)::int AS seen, last.job_id, last.run_lease
FROM (SELECT job_id, run_lease FROM page ORDER BY job_id DESC, run_lease DESC LIMIT 1) AS last
