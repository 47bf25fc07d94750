-- What awa bench does besides enqueueing and working.  It touches only its own queue.

-- name: newest_id
-- The largest job id: jobs of the run have larger ids.  Both primary keys.
SELECT greatest((SELECT max(id) FROM awa.jobs_hot), (SELECT max(id) FROM awa.scheduled_jobs), 0)

-- name: server_settings
-- Version and settings of the server that results depend on; NULL for an unknown setting.
SELECT name, current_setting(name, true) AS value
FROM unnest(:names::text[]) WITH ORDINALITY AS wanted(name, place)
ORDER BY place

-- name: unfinished
-- Whether the queue has available or running jobs.  Indexes awa_jobs_hot_claim_by_kind and
-- awa_jobs_hot_running_by_queue.
SELECT EXISTS (SELECT FROM awa.jobs_hot
               WHERE state BETWEEN 'available' AND 'available' AND queue = :queue::text)
    OR EXISTS (SELECT FROM awa.jobs_hot WHERE state = 'running' AND queue = :queue::text)

-- name: delete_jobs
-- Delete a batch of the queue's jobs with larger ids than a given one.  Locks the rows.  Both
-- primary keys, so that older jobs are not read.
WITH hot AS (
    DELETE FROM awa.jobs_hot WHERE id IN (
        SELECT id FROM awa.jobs_hot WHERE id > :after::bigint AND queue = :queue::text
        ORDER BY id LIMIT :limit::int
    )
    RETURNING 1
), cold AS (
    DELETE FROM awa.scheduled_jobs WHERE id IN (
        SELECT id FROM awa.scheduled_jobs WHERE id > :after::bigint AND queue = :queue::text
        ORDER BY id LIMIT :limit::int
    )
    RETURNING 1
)
SELECT (SELECT count(*) FROM hot) + (SELECT count(*) FROM cold)

-- name: forget
-- Delete all other rows of the queue, and of the kind of the same name: counters, catalogs,
-- descriptors, and worker processes that worked no other queue.  Small tables.
WITH counts AS (DELETE FROM awa.queue_state_counts WHERE queue = :queue::text),
     queues AS (DELETE FROM awa.job_queue_catalog WHERE queue = :queue::text),
     kinds AS (DELETE FROM awa.job_kind_catalog WHERE kind = :queue::text),
     dirty_queues AS (DELETE FROM awa.admin_dirty_queues WHERE queue = :queue::text),
     dirty_kinds AS (DELETE FROM awa.admin_dirty_kinds WHERE kind = :queue::text),
     described_queues AS (DELETE FROM awa.queue_descriptors WHERE queue = :queue::text),
     described_kinds AS (DELETE FROM awa.job_kind_descriptors WHERE kind = :queue::text),
     meta AS (DELETE FROM awa.queue_meta WHERE queue = :queue::text),
     workers AS (
         DELETE FROM awa.runtime_instances
         WHERE jsonb_array_length(queues) = 1 AND queues -> 0 ->> 'queue' = :queue::text
         RETURNING instance_id
     )
DELETE FROM awa.worker_processes WHERE instance_id IN (SELECT instance_id FROM workers)
