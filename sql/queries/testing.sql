-- The statements of awa_lib.testing.  Claims and ends of attempts use the worker's own blocks in
-- claims.sql.

-- name: next_job
-- Queue and kind of the next job, over all queues.  No lock.
SELECT queue, kind FROM awa.jobs_hot AS j
WHERE state BETWEEN 'available' AND 'available' AND run_at <= now()
  AND kind = ANY(:kinds::text[])
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = j.queue AND m.paused)
ORDER BY priority, run_at, id
LIMIT 1

-- name: claim_job
-- Claim one job by id, as claim_kind does, if it is available.  Primary key.
UPDATE awa.jobs_hot
SET state = 'running', attempt = attempt + 1, run_lease = :lease::bigint,
    attempted_at = now(), heartbeat_at = now(),
    deadline_at = now() + make_interval(secs => :deadline_seconds::float8)
WHERE id = :id::bigint AND state = 'available'
RETURNING :claimed_job.*

-- name: waiting_jobs
-- Jobs that wait for a run, oldest first; args by containment.  No lock; for small tables.
SELECT :job.*
FROM awa.jobs
WHERE state IN ('scheduled', 'available', 'retryable')
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND args @> :args::jsonb
ORDER BY id

-- name: shift_jobs
-- Bring run_at of every scheduled and retryable job nearer, as if that time had passed.  Locks all
-- rows of the cold table.
UPDATE awa.scheduled_jobs
SET run_at = run_at - make_interval(secs => :seconds::float8)

-- name: delete_jobs
-- Delete every job, whatever its state.
DELETE FROM awa.jobs

-- name: delete_queues
-- Delete the pauses of queues.
DELETE FROM awa.queue_meta

-- name: lock_template
-- Let only one process of a test run build the template.  Held until the connection closes.
SELECT pg_advisory_lock(hashtext(:name::text))

-- name: unlock_template
-- Let the next process continue.
SELECT pg_advisory_unlock(hashtext(:name::text))

-- name: databases
-- Databases of a test run.
SELECT datname FROM pg_database WHERE starts_with(datname, :prefix::text)

-- name: create_database
-- Create a database.  A name in braces, here and below, is an identifier.
CREATE DATABASE {name}

-- name: clone_database
-- Clone a template, which must have no sessions.  PostgreSQL 14 always copies files.
CREATE DATABASE {name} TEMPLATE {template}

-- name: clone_files
-- The same from PostgreSQL 15 on, where the default writes each page to the WAL instead.
CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy

-- name: copy_in_the_kernel
-- Copy files by copy_file_range instead of reading and writing them, where the server can.
SELECT set_config('file_copy_method', 'clone', false)
FROM pg_settings
WHERE name = 'file_copy_method' AND 'clone' = ANY (enumvals)

-- name: copy_by_the_server
-- Read and write files again: a file system may refuse the other way.
SELECT set_config('file_copy_method', 'copy', false)
FROM pg_settings
WHERE name = 'file_copy_method'

-- name: rename_database
-- Give the template its name when it is complete.
ALTER DATABASE {name} RENAME TO {new}

-- name: vacuum_all
-- Set hint bits and statistics in the template, so that no clone has to.
VACUUM (ANALYZE)

-- name: drop_database
-- Drop a database and end its sessions.
DROP DATABASE IF EXISTS {name} WITH (FORCE)
