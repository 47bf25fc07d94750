-- Read jobs: every column of the row.

-- name: list_jobs
-- A page of jobs, newest id first, before a given id.  No lock; scans both primary keys backwards.
-- The states are enum values, not text: a plan for these values (the first plans are) can then use
-- the indexes of single states instead.
SELECT :job_row.*
FROM awa.jobs
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR (tags @> ARRAY[:tag::text] AND tags <> '{}'))
  AND (:since::timestamptz IS NULL OR created_at >= :since::timestamptz)
  AND (:until::timestamptz IS NULL OR created_at < :until::timestamptz)
  AND (:args::jsonb IS NULL OR args @> :args::jsonb)
  AND (:metadata::jsonb IS NULL OR metadata @> :metadata::jsonb)
  AND (:error::text IS NULL OR cardinality(errors) > 0 AND strpos(lower(errors[cardinality(errors)] ->> 'error'),
                           lower(:error::text)) > 0)
  AND (:failure::text IS NULL OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY id DESC
LIMIT :limit::bigint

-- name: list_jobs_after
-- The page before: jobs after a given id, oldest id first.  As list_jobs, forwards.
SELECT :job_row.*
FROM awa.jobs
WHERE id > :after_id::bigint
  AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR (tags @> ARRAY[:tag::text] AND tags <> '{}'))
  AND (:since::timestamptz IS NULL OR created_at >= :since::timestamptz)
  AND (:until::timestamptz IS NULL OR created_at < :until::timestamptz)
  AND (:args::jsonb IS NULL OR args @> :args::jsonb)
  AND (:metadata::jsonb IS NULL OR metadata @> :metadata::jsonb)
  AND (:error::text IS NULL OR cardinality(errors) > 0 AND strpos(lower(errors[cardinality(errors)] ->> 'error'),
                           lower(:error::text)) > 0)
  AND (:failure::text IS NULL OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY id
LIMIT :limit::bigint

-- name: sort_jobs
-- Jobs in another order, nulls last.  No lock; reads and sorts all matching jobs.
SELECT :job_row.*
FROM awa.jobs
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (cardinality(:states::awa.job_state[]) = 0 OR state = ANY (:states::awa.job_state[]))
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR (tags @> ARRAY[:tag::text] AND tags <> '{}'))
  AND (:since::timestamptz IS NULL OR created_at >= :since::timestamptz)
  AND (:until::timestamptz IS NULL OR created_at < :until::timestamptz)
  AND (:args::jsonb IS NULL OR args @> :args::jsonb)
  AND (:metadata::jsonb IS NULL OR metadata @> :metadata::jsonb)
  AND (:error::text IS NULL OR cardinality(errors) > 0 AND strpos(lower(errors[cardinality(errors)] ->> 'error'),
                           lower(:error::text)) > 0)
  AND (:failure::text IS NULL OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY CASE WHEN NOT :descending::boolean THEN CASE :field::text
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
