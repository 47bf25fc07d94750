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
-- Write a step of each running attempt, and renew their leases; returns the ids that these attempts
-- no longer own.  A step that was written before, by a statement whose answer was lost, stays.
-- Locks the rows of the jobs.  lasts is how long ago a step began, left how long a sleep lasts yet.
WITH beat AS (
    UPDATE awa.jobs_hot AS j
    SET heartbeat_at = now()
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state BETWEEN 'running' AND 'running'
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
