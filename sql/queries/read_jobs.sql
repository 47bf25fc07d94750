-- Read jobs: every column of the row.

-- name: list_jobs
-- A page of jobs, newest id first, before a given id.  No lock; scans both primary keys backwards.
-- The states are enum values, not text: a plan for these values (the first plans are) can then use
-- the indexes of single states instead.
SELECT :job_row.*
FROM awa.jobs
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
  AND :job_filter.*
ORDER BY id DESC
LIMIT :limit::bigint

-- name: list_tagged_jobs
-- The same for one tag.  No lock.  Looks for a page among the last 100,000 ids, and else reads all
-- jobs with the tag: index idx_awa_jobs_hot_tags.  So of ten million jobs neither a tag that many
-- have (a hundredth: 2.5 s by the index) nor one that few have (10 s by the ids) is slow.
WITH top AS MATERIALIZED (
    SELECT coalesce(:before_id::bigint,
                    greatest((SELECT max(id) FROM awa.jobs_hot),
                             (SELECT max(id) FROM awa.scheduled_jobs), 0) + 1) AS id
), near AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT * FROM awa.jobs
        WHERE id < (SELECT id FROM top) AND id >= (SELECT id FROM top) - 100000
        ORDER BY id DESC
        OFFSET 0
    ) AS jobs
    WHERE (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
      AND :job_filter.*
    LIMIT :limit::bigint
)
SELECT :job_row.*
FROM (
    SELECT * FROM near WHERE (SELECT count(*) FROM near) = :limit::bigint
    UNION ALL
    SELECT * FROM awa.jobs
    WHERE (SELECT count(*) FROM near) < :limit::bigint
      AND id < (SELECT id FROM top)
      AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
      AND :job_filter.*
) AS jobs
ORDER BY id DESC
LIMIT :limit::bigint

-- name: list_tagged_jobs_after
-- The page before.
WITH bottom AS MATERIALIZED (
    SELECT greatest(:after_id::bigint,
                    least((SELECT min(id) FROM awa.jobs_hot),
                          (SELECT min(id) FROM awa.scheduled_jobs)) - 1) AS id
), near AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT * FROM awa.jobs
        WHERE id > (SELECT id FROM bottom) AND id <= (SELECT id FROM bottom) + 100000
        ORDER BY id
        OFFSET 0
    ) AS jobs
    WHERE (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
      AND :job_filter.*
    LIMIT :limit::bigint
)
SELECT :job_row.*
FROM (
    SELECT * FROM near WHERE (SELECT count(*) FROM near) = :limit::bigint
    UNION ALL
    SELECT * FROM awa.jobs
    WHERE (SELECT count(*) FROM near) < :limit::bigint
      AND id > (SELECT id FROM bottom)
      AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
      AND :job_filter.*
) AS jobs
ORDER BY id
LIMIT :limit::bigint

-- name: list_jobs_after
-- The page before: jobs after a given id, oldest id first.  As list_jobs, forwards.
SELECT :job_row.*
FROM awa.jobs
WHERE id > :after_id::bigint
  AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
  AND :job_filter.*
ORDER BY id
LIMIT :limit::bigint

-- name: sort_jobs
-- Jobs in another order, nulls last; by finalized_at those that have ended first.  No lock; reads
-- and sorts all matching jobs.
SELECT :job_row.*
FROM awa.jobs
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
  AND :job_filter.*
ORDER BY :field::text = 'finalized_at'
             AND (state <> ALL ('{completed,failed,cancelled}'::awa.job_state[])
                  OR finalized_at IS NULL),
         CASE WHEN NOT :descending::boolean THEN CASE :field::text
             WHEN 'run_at' THEN run_at WHEN 'created_at' THEN created_at
             WHEN 'attempted_at' THEN attempted_at WHEN 'finalized_at' THEN finalized_at END END,
         CASE WHEN :descending::boolean THEN CASE :field::text
             WHEN 'run_at' THEN run_at WHEN 'created_at' THEN created_at
             WHEN 'attempted_at' THEN attempted_at WHEN 'finalized_at' THEN finalized_at END END
             DESC NULLS LAST,
         CASE WHEN :descending::boolean THEN -1 ELSE 1 END
             * CASE :field::text WHEN 'priority' THEN priority WHEN 'attempt' THEN attempt END,
         CASE WHEN :descending::boolean THEN -id ELSE id END
LIMIT :limit::bigint

-- name: last_ended_jobs
-- Jobs that have ended, the last first.  No lock.  Indexes idx_awa_jobs_hot_completed_finalized and
-- awa_jobs_hot_unsuccessful_finalized: the states that are asked for are compared as text, which
-- fits no other index, in a CASE, which the planner takes for true of every other row.
WITH ended AS MATERIALIZED (
    (SELECT id AS job_id, finalized_at AS at
     FROM awa.jobs_hot
     WHERE state = 'completed' AND finalized_at IS NOT NULL
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND (cardinality(:states::text[]) = 0 OR 'completed' = ANY (:states::text[]))
       AND :job_filter.*
     ORDER BY finalized_at DESC, id DESC
     LIMIT :limit::bigint)
    UNION ALL
    (SELECT id, finalized_at
     FROM awa.jobs_hot
     WHERE state = ANY ('{failed,cancelled}'::awa.job_state[]) AND finalized_at IS NOT NULL
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND (cardinality(:states::text[]) = 0 OR :states::text[] && '{failed,cancelled}')
       AND (cardinality(:states::text[]) = 0
            OR CASE WHEN state::text = ANY (:states::text[]) THEN true END)
       AND :job_filter.*
     ORDER BY finalized_at DESC, id DESC
     LIMIT :limit::bigint)
    ORDER BY at DESC, job_id DESC
    LIMIT :limit::bigint
)
SELECT :job_row.*
FROM ended
JOIN awa.jobs_hot ON id = ANY (ARRAY(SELECT job_id FROM ended)) AND id = job_id
ORDER BY at DESC, job_id DESC

-- name: first_ended_jobs
-- The same, the first to end first.
WITH ended AS MATERIALIZED (
    (SELECT id AS job_id, finalized_at AS at
     FROM awa.jobs_hot
     WHERE state = 'completed' AND finalized_at IS NOT NULL
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND (cardinality(:states::text[]) = 0 OR 'completed' = ANY (:states::text[]))
       AND :job_filter.*
     ORDER BY finalized_at, id
     LIMIT :limit::bigint)
    UNION ALL
    (SELECT id, finalized_at
     FROM awa.jobs_hot
     WHERE state = ANY ('{failed,cancelled}'::awa.job_state[]) AND finalized_at IS NOT NULL
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND (cardinality(:states::text[]) = 0 OR :states::text[] && '{failed,cancelled}')
       AND (cardinality(:states::text[]) = 0
            OR CASE WHEN state::text = ANY (:states::text[]) THEN true END)
       AND :job_filter.*
     ORDER BY finalized_at, id
     LIMIT :limit::bigint)
    ORDER BY at, job_id
    LIMIT :limit::bigint
)
SELECT :job_row.*
FROM ended
JOIN awa.jobs_hot ON id = ANY (ARRAY(SELECT job_id FROM ended)) AND id = job_id
ORDER BY at, job_id

-- name: first_due_jobs
-- Scheduled and retryable jobs, of the states that are asked for, the first due first.  No lock.
-- Indexes idx_awa_scheduled_jobs_run_at_scheduled and idx_awa_scheduled_jobs_run_at_retryable.
WITH due AS MATERIALIZED (
    (SELECT id AS job_id, run_at AS at
     FROM awa.scheduled_jobs
     WHERE state = 'scheduled' AND 'scheduled' = ANY (:states::text[])
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND :job_filter.*
     ORDER BY run_at, id
     LIMIT :limit::bigint)
    UNION ALL
    (SELECT id, run_at
     FROM awa.scheduled_jobs
     WHERE state = 'retryable' AND 'retryable' = ANY (:states::text[])
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND :job_filter.*
     ORDER BY run_at, id
     LIMIT :limit::bigint)
    ORDER BY at, job_id
    LIMIT :limit::bigint
)
SELECT :job_row.*
FROM due
JOIN awa.jobs ON id = ANY (ARRAY(SELECT job_id FROM due)) AND id = job_id
ORDER BY at, job_id

-- name: last_due_jobs
-- The same, the last due first.
WITH due AS MATERIALIZED (
    (SELECT id AS job_id, run_at AS at
     FROM awa.scheduled_jobs
     WHERE state = 'scheduled' AND 'scheduled' = ANY (:states::text[])
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND :job_filter.*
     ORDER BY run_at DESC, id DESC
     LIMIT :limit::bigint)
    UNION ALL
    (SELECT id, run_at
     FROM awa.scheduled_jobs
     WHERE state = 'retryable' AND 'retryable' = ANY (:states::text[])
       AND (:before_id::bigint IS NULL OR id < :before_id::bigint)
       AND :job_filter.*
     ORDER BY run_at DESC, id DESC
     LIMIT :limit::bigint)
    ORDER BY at DESC, job_id DESC
    LIMIT :limit::bigint
)
SELECT :job_row.*
FROM due
JOIN awa.jobs ON id = ANY (ARRAY(SELECT job_id FROM due)) AND id = job_id
ORDER BY at DESC, job_id DESC

-- name: get_job
-- One job by id, from either table.  No lock; both primary keys.
SELECT :job_row.*
FROM awa.jobs
WHERE id = :id::bigint

-- name: get_jobs
-- Several jobs by id, from either table, in id order.  No lock; both primary keys.
SELECT :job_row.*
FROM awa.jobs
WHERE id = ANY (:ids::bigint[])
ORDER BY id

-- name: get_worker
-- The process that a lease names, if it ran when the attempt began.  No lock; primary key.
SELECT hostname, pid, version, app_version, started_at, stopped_at
FROM awa.worker_processes
WHERE number = :lease::bigint >> 29 AND :lease::bigint & 511 = 0
  AND :attempted_at::timestamptz BETWEEN started_at AND coalesce(stopped_at, 'infinity')
