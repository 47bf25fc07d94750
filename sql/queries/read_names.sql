-- Read existing names, for completion and for hints after a typing error.  No lock; small tables,
-- and the newest jobs by primary key for names that are not counted yet.

-- name: queue_names
-- Queues with a prefix, by name.
SELECT queue AS name FROM (
    SELECT queue FROM awa.queue_state_counts
    UNION SELECT queue FROM awa.queue_meta
    UNION SELECT queue FROM awa.queue_descriptors
    UNION SELECT queue FROM (SELECT queue FROM awa.jobs_hot ORDER BY id DESC LIMIT 500) AS hot
    UNION SELECT queue FROM (SELECT queue FROM awa.scheduled_jobs ORDER BY id DESC LIMIT 500) AS cold
) AS known
WHERE starts_with(queue, :prefix::text)
ORDER BY queue COLLATE "C"
LIMIT :limit::int

-- name: kind_names
-- Kinds with a prefix, by name.
SELECT kind AS name FROM (
    SELECT kind FROM awa.job_kind_catalog
    UNION SELECT kind FROM awa.job_kind_descriptors
    UNION SELECT kind FROM (SELECT kind FROM awa.jobs_hot ORDER BY id DESC LIMIT 500) AS hot
    UNION SELECT kind FROM (SELECT kind FROM awa.scheduled_jobs ORDER BY id DESC LIMIT 500) AS cold
) AS known
WHERE starts_with(kind, :prefix::text)
ORDER BY kind COLLATE "C"
LIMIT :limit::int

-- name: tag_names
-- Tags of the newest jobs with a prefix, by name.
SELECT DISTINCT tag COLLATE "C" AS name
FROM (SELECT tags FROM awa.jobs ORDER BY id DESC LIMIT 5000) AS newest
CROSS JOIN LATERAL unnest(tags) AS tag
WHERE starts_with(tag, :prefix::text)
ORDER BY name
LIMIT :limit::int

-- name: schedule_names
-- Schedules with a prefix, by name.
SELECT name FROM awa.cron_jobs WHERE starts_with(name, :prefix::text)
ORDER BY name COLLATE "C"
LIMIT :limit::int

-- name: recent_ids
-- Ids of the newest jobs with a prefix, with kind and state.
SELECT id, kind, state FROM (
    SELECT id, kind, state::text AS state FROM awa.jobs ORDER BY id DESC LIMIT 5000
) AS newest
WHERE starts_with(id::text, :prefix::text)
ORDER BY id DESC
LIMIT :limit::int

-- name: dead_ids
-- Ids of the newest dead letters with a prefix, with kind and reason.
SELECT id, kind, reason FROM (
    SELECT id, kind, reason FROM awa.dead_letters ORDER BY id DESC LIMIT 5000
) AS newest
WHERE starts_with(id::text, :prefix::text)
ORDER BY id DESC
LIMIT :limit::int

-- name: failure_ids
-- Ids of failures with a prefix, with kind and message, the latest first.  The table is small.
SELECT id, kind, left(message, 60) AS message FROM awa.failures
WHERE starts_with(id, :prefix::text)
ORDER BY last_seen_at DESC, id
LIMIT :limit::int

-- name: operation_ids
-- Ids of bulk operations with a prefix, with operation and state.  The table is small.
SELECT id::text AS id, operation, state FROM awa.bulk_operations
WHERE starts_with(id::text, :prefix::text)
ORDER BY submitted_at DESC, id
LIMIT :limit::int

-- name: workflow_ids
-- Ids of the newest workflows with a prefix, with name and state.
SELECT id, name, state FROM (
    SELECT id, name, state FROM awa.workflows ORDER BY id DESC LIMIT 5000
) AS newest
WHERE starts_with(id::text, :prefix::text)
ORDER BY id DESC
LIMIT :limit::int

-- name: workflow_names
-- Names of the newest workflows with a prefix.
SELECT DISTINCT name COLLATE "C" AS name
FROM (SELECT name FROM awa.workflows ORDER BY id DESC LIMIT 5000) AS newest
WHERE starts_with(name, :prefix::text)
ORDER BY name
LIMIT :limit::int

-- name: node_names
-- Names of nodes of a workflow with a prefix.  Index awa_workflow_nodes_name.
SELECT name FROM awa.workflow_nodes
WHERE workflow_id = :workflow::bigint AND name IS NOT NULL AND type = ANY (:types::text[])
  AND starts_with(name, :prefix::text)
ORDER BY name COLLATE "C"
LIMIT :limit::int
