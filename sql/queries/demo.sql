-- The demo's tables, in a schema of their own: the data that an application keeps besides its jobs.

-- name: create_schema
-- Create the schema of the demo.
CREATE SCHEMA IF NOT EXISTS awa_demo

-- name: create_files
-- One row per file and run; the jobs fill in their results.
CREATE TABLE IF NOT EXISTS awa_demo.files (
    run uuid NOT NULL,
    number integer NOT NULL,
    path text NOT NULL,
    bytes bigint,
    lines bigint,
    digest bytea,
    language text,
    PRIMARY KEY (run, number)
)

-- name: create_notes
-- The results of the other jobs of a run.
CREATE TABLE IF NOT EXISTS awa_demo.notes (
    run uuid NOT NULL,
    name text NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (run, name)
)

-- name: forget_runs
-- Delete the results of earlier runs.
TRUNCATE awa_demo.files, awa_demo.notes

-- name: add_files
-- Insert rows of the application, in the same transaction as their jobs.
INSERT INTO awa_demo.files (run, number, path)
SELECT :run::uuid, :first::int + f.ord::int - 1, f.path
FROM unnest(:paths::text[]) WITH ORDINALITY AS f(path, ord)

-- name: store_file
-- Store the results of a job for its file.
UPDATE awa_demo.files
SET bytes = :bytes::bigint, lines = :lines::bigint, digest = :digest::bytea,
    language = :language::text
WHERE run = :run::uuid AND number = :number::int

-- name: store_note
-- Store the result of another job.
INSERT INTO awa_demo.notes (run, name, value)
VALUES (:run::uuid, :name::text, :value::jsonb)
ON CONFLICT (run, name) DO UPDATE SET value = excluded.value

-- name: last_job
-- The largest job id before the run.
SELECT coalesce(max(id), 0) AS id FROM awa.jobs

-- name: states
-- The run's jobs by state.  Primary keys.
SELECT state::text AS state, count(*) AS jobs
FROM awa.jobs
WHERE id > :after::bigint AND queue = ANY(:queues::text[])
GROUP BY state
ORDER BY state

-- name: files_found
-- Totals of the run.
SELECT count(*) FILTER (WHERE bytes IS NOT NULL) AS files,
       count(*) FILTER (WHERE bytes IS NULL) AS unreadable,
       coalesce(sum(bytes), 0)::bigint AS bytes,
       coalesce(sum(lines), 0)::bigint AS lines
FROM awa_demo.files
WHERE run = :run::uuid

-- name: largest_file
-- The largest file of the run.
SELECT path, bytes FROM awa_demo.files
WHERE run = :run::uuid AND bytes IS NOT NULL
ORDER BY bytes DESC, path
LIMIT 1

-- name: duplicates
-- Groups of files with the same content, except empty files, and the number of superfluous copies.
SELECT count(*)::bigint AS groups, coalesce(sum(copies - 1), 0)::bigint AS extra
FROM (
    SELECT count(*) AS copies FROM awa_demo.files
    WHERE run = :run::uuid AND bytes > 0
    GROUP BY digest
    HAVING count(*) > 1
) AS same

-- name: languages
-- Files, lines and bytes by language, most files first.
SELECT language, count(*) AS files, sum(lines)::bigint AS lines, sum(bytes)::bigint AS bytes
FROM awa_demo.files
WHERE run = :run::uuid AND bytes IS NOT NULL
GROUP BY language
ORDER BY files DESC, language
LIMIT :limit::int

-- name: jobs_found
-- The run's jobs by outcome, and how often they were retried or rescued.
SELECT count(*) AS jobs,
       count(*) FILTER (WHERE state = 'completed') AS completed,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       coalesce(sum(attempt), 0)::bigint AS attempts,
       coalesce(sum(e.retried), 0)::bigint AS retried,
       coalesce(sum(e.rescued), 0)::bigint AS rescued
FROM awa.jobs AS j
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE entry ->> 'error' LIKE 'heartbeat stale%') AS rescued,
           count(*) FILTER (
               WHERE entry ->> 'error' NOT LIKE 'heartbeat stale%'
                 AND (entry ->> 'attempt')::int < j.attempt
           ) AS retried
    FROM unnest(j.errors) AS entry
) AS e
WHERE j.id > :after::bigint AND j.queue = ANY(:queues::text[])

-- name: note
-- One stored result of the run.
SELECT value::text AS value FROM awa_demo.notes WHERE run = :run::uuid AND name = :name::text
