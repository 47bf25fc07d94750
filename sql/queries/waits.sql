-- Waits for jobs: sessions that wait are recorded, so that a trigger can notify them of changes.

-- name: watch
-- Ask for notifications of changes of these jobs on awa_job_state, for a number of seconds.
INSERT INTO awa.job_waits (job_id, session, expires_at)
SELECT DISTINCT unnest(:ids::bigint[]), pg_backend_pid(),
       now() + make_interval(secs => :seconds::float8)
ON CONFLICT (job_id, session) DO UPDATE SET expires_at = excluded.expires_at

-- name: unwatch
-- Stop the notifications of these jobs to this session.  Primary key.
DELETE FROM awa.job_waits
WHERE job_id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND session = pg_backend_pid()

-- name: forget_expired
-- Delete waits of sessions that ended without a word.  Index awa_job_waits_expires_at.
DELETE FROM awa.job_waits WHERE expires_at < now()

-- name: states
-- States of these jobs; deleted jobs are left out.  No lock; both primary keys.
SELECT id, state::text AS state, attempt,
       CASE WHEN state <> 'completed' THEN errors[cardinality(errors)] ->> 'error' END AS error
FROM awa.jobs
WHERE id = ANY(:ids::bigint[])

-- name: tasks
-- Those of these ids that belong to a task of a workflow that has not ended.  Index
-- awa_workflow_nodes_job.
SELECT job_id FROM awa.workflow_nodes
WHERE job_id = ANY(:ids::bigint[]) AND state IN ('waiting', 'started')
