-- Durable steps of handlers.

-- name: of_job
-- The steps of a job that have begun, in the order of their ends; seconds_left of a sleep that is
-- not over is positive.  No lock; primary key.
SELECT name, number, value::text AS value, attempt, started_at, ended_at,
       greatest(extract(epoch FROM ended_at - now())::float8, 0) AS seconds_left
FROM awa.job_steps
WHERE job_id = :id::bigint
ORDER BY number, name

-- name: write
-- Write a step of each attempt, and renew the leases of those that run; returns the ids that these
-- attempts no longer own.  An attempt that waits for a callback owns its job too: steps may end
-- beside the wait.  A step that was written before, by a statement whose answer was lost, stays.
-- Locks the rows of the jobs.  lasts is how long ago a step began, left how long a sleep lasts yet.
WITH beat AS (
    UPDATE awa.jobs_hot AS j
    SET heartbeat_at = CASE j.state WHEN 'running' THEN now() END
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state::text = ANY ('{running,waiting_external}')
    RETURNING j.id, j.attempt, width_bucket(j.id, :ids::bigint[]) AS place
), written AS (
    INSERT INTO awa.job_steps (job_id, number, name, value, attempt, started_at, ended_at)
    SELECT id, (:numbers::int[])[place], (:names::text[])[place], (:step_values::text[])[place]::jsonb,
           attempt, now() - make_interval(secs => (:lasts::float8[])[place]),
           now() + make_interval(secs => (:left::float8[])[place])
    FROM beat
    ORDER BY id
    ON CONFLICT (job_id, name) DO NOTHING
)
SELECT i.id FROM unnest(:ids::bigint[]) AS i(id) EXCEPT SELECT id FROM beat

-- name: hold_attempts
-- Lock the rows of these attempts that no other session has locked.  Returns the ids whose attempts
-- still own their job, and whether each is locked now.  Ids and leases are sorted by id.
WITH held AS MATERIALIZED (
    SELECT j.id FROM awa.jobs_hot AS j
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state::text = ANY ('{running,waiting_external}')
    ORDER BY j.id
    FOR UPDATE SKIP LOCKED
)
SELECT j.id, j.id IN (SELECT id FROM held) AS held
FROM awa.jobs_hot AS j
WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
  AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
  AND j.state::text = ANY ('{running,waiting_external}')

-- name: forget_from
-- Delete a step of a job and those that ended after it.  Primary key.
DELETE FROM awa.job_steps
WHERE job_id = :id::bigint
  AND number >= (SELECT number FROM awa.job_steps WHERE job_id = :id::bigint AND name = :name::text)
RETURNING name

-- name: forget
-- Delete a batch of steps of jobs that are gone; those of jobs that are there are looked at again a
-- day later.  Locks what it takes, and passes over what is locked.  Index awa_job_steps_purge_at;
-- jobs by primary key, row by row because of the limit.
WITH due AS MATERIALIZED (
    SELECT s.job_id, s.name, j.here
    FROM awa.job_steps AS s
    LEFT JOIN LATERAL (
        SELECT true AS here WHERE EXISTS (SELECT FROM awa.jobs_hot WHERE id = s.job_id)
            OR EXISTS (SELECT FROM awa.scheduled_jobs WHERE id = s.job_id)
            OR EXISTS (SELECT FROM awa.dead_letters WHERE id = s.job_id)
    ) AS j ON true
    WHERE s.purge_at <= now()
    ORDER BY s.purge_at
    LIMIT :limit::int
    FOR UPDATE OF s SKIP LOCKED
), gone AS (
    DELETE FROM awa.job_steps
    WHERE job_id = ANY (ARRAY(SELECT job_id FROM due WHERE here IS NULL))
), kept AS (
    UPDATE awa.job_steps SET purge_at = now() + interval '1 day'
    WHERE job_id = ANY (ARRAY(SELECT job_id FROM due WHERE here)) AND purge_at <= now()
)
SELECT count(*) FROM due
