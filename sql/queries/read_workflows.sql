-- Read workflows.  No lock.  The nodes of a workflow are a range of the primary key; members follow
-- their group, so a page steps over them by the group's counts.

-- name: list_workflows
-- A page of workflows, newest first, before a given id.  Primary key; of open ones
-- awa_workflows_open, and of a name and key awa_workflows_key.
SELECT :workflow.*
FROM awa.workflows
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (:state::text IS NULL OR state = :state::text)
  AND (:name::text IS NULL OR name = :name::text)
  AND (:key::text IS NULL OR key = :key::text)
ORDER BY id DESC
LIMIT :limit::int

-- name: get_workflow
-- One workflow.  Primary key.
SELECT :workflow.*
FROM awa.workflows
WHERE id = :id::bigint

-- name: list_nodes
-- A page of tasks, groups and signals behind a number, in order, without the members of groups.
-- Each step is a look-up in the primary key.
WITH RECURSIVE given AS MATERIALIZED (
    -- The end of the group that the number belongs to.
    SELECT coalesce((
        SELECT n.number + CASE n.type WHEN 'group'
                          THEN n.parents_open + n.parents_succeeded + n.parents_failed
                               + n.parents_skipped ELSE 0 END
        FROM awa.workflow_nodes AS n
        WHERE n.workflow_id = :workflow::bigint AND n.number = (
            SELECT coalesce(group_number, number) FROM awa.workflow_nodes
            WHERE workflow_id = :workflow::bigint AND number = :after::int)
    ), :after::int) AS last
), page AS (
    SELECT 0 AS place, NULL::int AS number, last FROM given
    UNION ALL
    SELECT page.place + 1, n.number, n.last
    FROM page
    CROSS JOIN LATERAL (
        SELECT number,
               number + CASE type WHEN 'group'
                        THEN parents_open + parents_succeeded + parents_failed + parents_skipped
                        ELSE 0 END AS last
        FROM awa.workflow_nodes
        WHERE workflow_id = :workflow::bigint AND number > page.last
        ORDER BY number
        LIMIT 1
    ) AS n
    WHERE page.place < :limit::int
)
SELECT :workflow_node.*
FROM page
CROSS JOIN LATERAL (
    SELECT * FROM awa.workflow_nodes
    WHERE workflow_id = :workflow::bigint AND number = page.number
    LIMIT 1
) AS n
ORDER BY n.number

-- name: list_tasks
-- A page of the tasks with a number in a range, of all states or one, in order.  Primary key.
SELECT :workflow_node.*
FROM awa.workflow_nodes AS n
WHERE n.workflow_id = :workflow::bigint AND n.number > :after::int AND n.number <= :until::int
  AND n.type = 'task' AND (:state::text IS NULL OR n.state = :state::text)
ORDER BY n.number
LIMIT :limit::int

-- name: nodes
-- The nodes with these numbers, in order.  Primary key.
SELECT :workflow_node.*
FROM awa.workflow_nodes AS n
WHERE n.workflow_id = :workflow::bigint AND n.number = ANY (:numbers::int[])
ORDER BY n.number

-- name: named_node
-- The node with this name.  Index awa_workflow_nodes_name.
SELECT :workflow_node.*
FROM awa.workflow_nodes AS n
WHERE n.workflow_id = :workflow::bigint AND n.name = :name::text

-- name: jobs_of_tasks
-- State, attempt and times of jobs, and the beginning of the latest error.  A job that waits for its
-- turn has no times of an attempt.  Primary keys.
SELECT j.id, coalesce(hot.state, cold.state, dead.state) AS state,
       coalesce(hot.attempt, cold.attempt, dead.attempt) AS attempt,
       coalesce(hot.run_at, cold.run_at) AS run_at,
       left(coalesce(hot.error, cold.error, dead.error), 200) AS error,
       coalesce(hot.created_at, cold.created_at, dead.created_at) AS created_at,
       coalesce(hot.began, dead.began) AS began,
       extract(epoch FROM coalesce(hot.ended, dead.ended, now()) - coalesce(hot.began, dead.began))
           ::float8 AS seconds,
       extract(epoch FROM now() - coalesce(hot.created_at, cold.created_at, dead.created_at))
           ::float8 AS age
FROM unnest(:ids::bigint[]) AS j (id)
LEFT JOIN LATERAL (
    SELECT state::text AS state, attempt, run_at, errors[cardinality(errors)] ->> 'error' AS error,
           created_at, finalized_at AS ended,
           CASE WHEN state <> 'available' AND attempt > 0 THEN attempted_at END AS began
    FROM awa.jobs_hot WHERE id = j.id
    LIMIT 1
) AS hot ON true
LEFT JOIN LATERAL (
    SELECT state::text AS state, attempt, run_at, errors[cardinality(errors)] ->> 'error' AS error,
           created_at
    FROM awa.scheduled_jobs WHERE id = j.id AND hot.state IS NULL
    LIMIT 1
) AS cold ON true
LEFT JOIN LATERAL (
    SELECT 'dead' AS state, attempt, errors[cardinality(errors)] ->> 'error' AS error,
           created_at, attempted_at AS began, finalized_at AS ended
    FROM awa.dead_letters WHERE id = j.id AND hot.state IS NULL AND cold.state IS NULL
    LIMIT 1
) AS dead ON true
WHERE coalesce(hot.state, cold.state, dead.state) IS NOT NULL

-- name: group_ends
-- When the last task of each of these groups ended.  Index awa_workflow_nodes_group; reads all tasks
-- of the groups.
SELECT group_number, max(ended_at) AS ended_at
FROM awa.workflow_nodes
WHERE workflow_id = :workflow::bigint AND group_number = ANY (:groups::int[])
GROUP BY group_number

-- name: waits
-- What tasks wait for: parents that are not over and signals that were not sent, and, with failed,
-- parents whose failure or skip keeps the task waiting.  At most :most of a task.  The edges of a
-- workflow are ordered by parent, so all of them are read: 20 ms of 100,000.
SELECT child, name, type, state
FROM (
    SELECT e.child, p.name, p.type, p.state,
           row_number() OVER (PARTITION BY e.child ORDER BY p.number) AS place
    FROM (
        SELECT parent, child FROM awa.workflow_edges
        WHERE workflow_id = :workflow::bigint AND child = ANY (:children::int[])
    ) AS e
    CROSS JOIN LATERAL (
        SELECT number, name, type,
               CASE WHEN type <> 'group' THEN state
                    WHEN parents_open > 0 THEN 'open'
                    WHEN parents_failed > 0 THEN 'failed'
                    WHEN parents_skipped > 0 THEN 'skipped'
                    ELSE 'succeeded' END AS state
        FROM awa.workflow_nodes WHERE workflow_id = :workflow::bigint AND number = e.parent
        LIMIT 1
    ) AS p
    WHERE p.state IN ('waiting', 'started', 'open')
       OR (e.child = ANY (:failed::int[]) AND p.state IN ('failed', 'cancelled', 'skipped'))
) AS found
WHERE place <= :most::int
ORDER BY child, place

-- name: causes
-- Of each of these skipped tasks the first parent for which it was skipped: one that failed, was
-- cancelled or skipped; of those in all_failed one that succeeded or was skipped.  The edges of a
-- workflow are ordered by parent, so all of them are read.
SELECT DISTINCT ON (e.child) e.child, p.name, p.type, p.state
FROM (
    SELECT parent, child FROM awa.workflow_edges
    WHERE workflow_id = :workflow::bigint AND child = ANY (:children::int[])
) AS e
CROSS JOIN LATERAL (
    SELECT name, type, CASE
        WHEN type <> 'group' THEN state
        WHEN e.child = ANY (:all_failed::int[]) AND parents_succeeded > 0 THEN 'succeeded'
        WHEN parents_failed > 0 THEN 'failed'
        WHEN parents_skipped > 0 THEN 'skipped' END AS state
    FROM awa.workflow_nodes WHERE workflow_id = :workflow::bigint AND number = e.parent
    LIMIT 1
) AS p
WHERE p.type <> 'signal'
  AND CASE WHEN e.child = ANY (:all_failed::int[]) THEN p.state IN ('succeeded', 'skipped')
      ELSE p.state IN ('failed', 'cancelled', 'skipped') END
ORDER BY e.child, e.parent

-- name: edges
-- A page of the edges between the nodes of a graph, in order, behind one, from parents up to a
-- number.  A group counts as one node: a page steps over the edges to its other members.  Each step
-- is a look-up in primary keys.
WITH RECURSIVE page AS (
    SELECT 0 AS place, :parent::int AS parent, :child::int AS child,
           -- The end of the group that the child is.
           coalesce((
               SELECT number + CASE type WHEN 'group'
                               THEN parents_open + parents_succeeded + parents_failed
                                    + parents_skipped ELSE 0 END
               FROM awa.workflow_nodes
               WHERE workflow_id = :workflow::bigint AND number = :child::int
           ), :child::int) AS last
    -- Retention deletes the row first.
    WHERE EXISTS (SELECT FROM awa.workflows WHERE id = :workflow::bigint)
    UNION ALL
    SELECT page.place + 1, e.parent, coalesce(g.number, e.child), coalesce(g.last, e.child)
    FROM page
    CROSS JOIN LATERAL (
        SELECT parent, child FROM awa.workflow_edges
        WHERE workflow_id = :workflow::bigint AND (parent, child) > (page.parent, page.last)
          AND parent <= :until::int
        ORDER BY parent, child
        LIMIT 1
    ) AS e
    CROSS JOIN LATERAL (
        SELECT group_number FROM awa.workflow_nodes
        WHERE workflow_id = :workflow::bigint AND number = e.child
        LIMIT 1
    ) AS n
    LEFT JOIN LATERAL (
        SELECT number, number + parents_open + parents_succeeded + parents_failed + parents_skipped
                       AS last
        FROM awa.workflow_nodes
        WHERE workflow_id = :workflow::bigint AND number = n.group_number
        LIMIT 1
    ) AS g ON true
    WHERE page.place < :limit::int
)
SELECT parent, child FROM page WHERE place > 0 ORDER BY parent, child

-- name: task_of_job
-- The workflow of a job, and its task.  Index awa_workflow_nodes_job.
SELECT n.workflow_id AS id, w.name, coalesce(n.name, g.name) AS task, n.state,
       n.number - n.group_number - 1 AS place
FROM awa.workflow_nodes AS n
JOIN awa.workflows AS w ON w.id = n.workflow_id
LEFT JOIN awa.workflow_nodes AS g ON g.workflow_id = n.workflow_id AND g.number = n.group_number
WHERE n.job_id = :job::bigint
