-- Workflows: insert, extend, move on, signal, cancel, retry.
-- The row of a workflow is the lock of its graph; whoever changes a node holds it.

-- name: insert_workflow
-- Insert the row of a workflow, unless its name and key are taken.
INSERT INTO awa.workflows (name, key, nodes, waiting, started)
VALUES (:name::text, :key::text, :nodes::int, :waiting::int, :started::int)
ON CONFLICT DO NOTHING
RETURNING id

-- name: find_workflow
-- The workflow with this name and key.  Index awa_workflows_key.
SELECT id FROM awa.workflows WHERE name = :name::text AND key = :key::text

-- name: insert_nodes
-- Insert nodes in the order of their numbers, from first on; tasks get the ids of their jobs here.
-- Returns those ids.  Columns whose arrays are empty take the one value that all tasks share.  Of
-- decided nodes those that wait for nothing start, as they do in awa.resolve_workflow, and nothing is
-- inserted when another storage engine takes the writes; awa.resolve_workflow decides the others.
-- Fires the notify trigger.
WITH input AS MATERIALIZED (
    SELECT (:first::int + u.ord - 1)::int AS number,
           coalesce(u.type, :type::text) AS type,
           coalesce(u.name, :name::text) AS name,
           coalesce(u.open, :open::int) AS open,
           coalesce(u.signals, :signals::int) AS signals,
           t.*,
           :decided::boolean AND t.job_id IS NOT NULL AND coalesce(u.open, :open::int) = 0
               AND coalesce(u.signals, :signals::int) = 0 AS starts,
           u.ord
    FROM ROWS FROM (
        unnest(:types::text[]),
        unnest(:names::text[]),
        unnest(:opens::int[]),
        unnest(:signals_each::int[]),
        unnest(:groups::int[]),
        unnest(:rules::text[]),
        unnest(:on_parent_failures::text[]),
        unnest(:not_befores::timestamptz[]),
        unnest(:waits::float8[]),
        unnest(:kinds::text[]),
        unnest(:queues::text[]),
        unnest(:priorities::smallint[]),
        unnest(:max_attempts_each::smallint[]),
        jsonb_array_elements(:args::jsonb),
        jsonb_array_elements(:metadata_each::jsonb),
        unnest(:tags_each::text[])
    ) WITH ORDINALITY AS u (
        type, name, open, signals, group_number, rule, on_parent_failure, not_before, wait_seconds,
        kind, queue, priority, max_attempts, args, metadata, tags, ord
    )
    LEFT JOIN LATERAL (
        SELECT nextval('awa.jobs_id_seq') AS job_id,
               coalesce(u.group_number, :group::int) AS group_number,
               coalesce(u.rule, :rule::text) AS rule,
               coalesce(u.on_parent_failure, :on_parent_failure::text) AS on_parent_failure,
               coalesce(u.not_before, :not_before::timestamptz) AS not_before,
               coalesce(u.wait_seconds, :wait::float8) AS wait_seconds,
               coalesce(u.kind, :kind::text) AS kind,
               coalesce(u.queue, :queue::text) AS queue,
               coalesce(u.priority, :priority::smallint) AS priority,
               coalesce(u.max_attempts, :max_attempts::smallint) AS max_attempts,
               u.args,
               coalesce(u.metadata, :metadata::jsonb) AS metadata,
               coalesce(u.tags::text[], :tags::text[]) AS tags
        WHERE coalesce(u.type, :type::text) = 'task'
    ) AS t ON true
    WHERE NOT :decided::boolean OR (SELECT :engine.*) = 'canonical'
), written AS (
    INSERT INTO awa.workflow_nodes (
        workflow_id, number, type, name, group_number, state, rule, on_parent_failure,
        parents_open, signals_open, not_before, wait_seconds, job_id, kind, queue, priority,
        max_attempts, args, metadata, tags
    )
    SELECT :workflow::bigint, number, type, name, group_number,
           CASE WHEN starts THEN 'started' ELSE 'waiting' END, coalesce(rule, 'all_succeeded'),
           coalesce(on_parent_failure, 'skip'), open, signals, not_before, wait_seconds, job_id,
           kind, queue, priority, max_attempts, args, metadata, tags
    FROM input
    ORDER BY ord
), hot AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags
    )
    SELECT job_id, kind, queue, args, 'available', priority, max_attempts, now(),
           metadata || jsonb_build_object('_awa_workflow', :workflow::bigint), tags
    FROM input
    WHERE starts AND coalesce(not_before <= now(), true) AND coalesce(wait_seconds <= 0, true)
    ORDER BY ord
), cold AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags
    )
    SELECT job_id, kind, queue, args, 'scheduled', priority, max_attempts,
           greatest(not_before, now() + make_interval(secs => wait_seconds)),
           metadata || jsonb_build_object('_awa_workflow', :workflow::bigint), tags
    FROM input
    WHERE starts AND (not_before > now() OR wait_seconds > 0)
    ORDER BY ord
)
SELECT array_agg(job_id ORDER BY ord) AS job_ids FROM input HAVING count(*) > 0

-- name: copy_nodes
-- Insert nodes of which the rows say everything, with reserved ids of their jobs.
COPY awa.workflow_nodes (
    workflow_id, number, type, name, group_number, state, rule, on_parent_failure, parents_open,
    signals_open, not_before, wait_seconds, job_id, kind, args, queue, priority, max_attempts,
    metadata, tags
)
FROM STDIN

-- name: copy_edges
-- Insert edges from parents to children, in order.
COPY awa.workflow_edges (workflow_id, parent, child)
FROM STDIN

-- name: copy_started
-- Insert the jobs of tasks that start and may run now, with reserved ids.  Fires the notify trigger
-- once.
COPY awa.jobs_hot (id, run_at, kind, args, queue, priority, max_attempts, metadata, tags)
FROM STDIN

-- name: copy_scheduled
-- Insert the jobs of tasks that start later, with reserved ids.
COPY awa.scheduled_jobs (id, run_at, kind, args, queue, priority, max_attempts, metadata, tags)
FROM STDIN

-- name: insert_edges
-- Insert edges from parents to children.
INSERT INTO awa.workflow_edges (workflow_id, parent, child)
SELECT :workflow::bigint, parent, child
FROM unnest(:parents::int[], :children::int[]) AS e (parent, child)
ORDER BY parent, child

-- name: resolve
-- Move a workflow on; returns whether there is more to do.  Locks its row until the commit.
SELECT awa.resolve_workflow(:workflow::bigint) AS more

-- name: resolve_fresh
-- The same with new nodes, from first on; parents are the older nodes that they wait for.
SELECT awa.resolve_workflow(:workflow::bigint, :first::int, :parents::int[]) AS more

-- name: resolve_free
-- Move workflows on, except those that another transaction has locked: of these more is null.
-- Locks the rows of the others until the commit.  Primary key.
WITH free AS MATERIALIZED (
    SELECT id FROM awa.workflows WHERE id = ANY (:workflows::bigint[])
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), moved AS MATERIALIZED (
    SELECT id, awa.resolve_workflow(id) AS more FROM free
)
SELECT w.id, m.more
FROM awa.workflows AS w
LEFT JOIN moved AS m ON m.id = w.id
WHERE w.id = ANY (:workflows::bigint[])

-- name: lock_workflow
-- Lock a workflow; returns its state and the numbers of its nodes and tasks.
SELECT id, name, state, nodes, cancelled_at IS NOT NULL AS is_cancelled,
       waiting + started + succeeded + failed + cancelled + skipped AS tasks
FROM awa.workflows WHERE id = :workflow::bigint
FOR UPDATE

-- name: has_workflow
-- Whether a workflow is there.  No lock; primary key.
SELECT id FROM awa.workflows WHERE id = :workflow::bigint

-- name: nodes_named
-- The nodes that have these names, as named_nodes returns them.  Index awa_workflow_nodes_name, by
-- name: a workflow with few of them is not read whole.
SELECT n.name, n.number, n.type, n.members
FROM unnest(:names::text[]) AS given (name)
CROSS JOIN LATERAL (
    SELECT name, number, type, parents_open + parents_succeeded + parents_failed + parents_skipped
        AS members
    FROM awa.workflow_nodes
    WHERE workflow_id = :workflow::bigint AND name = given.name
    LIMIT 1
) AS n

-- name: named_nodes
-- The numbers of the named nodes of a workflow, and how many members a group has.  Index
-- awa_workflow_nodes_name.
SELECT name, number, type, parents_open + parents_succeeded + parents_failed + parents_skipped
    AS members
FROM awa.workflow_nodes
WHERE workflow_id = :workflow::bigint AND name IS NOT NULL
  -- Retention deletes the row first.
  AND EXISTS (SELECT FROM awa.workflows WHERE id = :workflow::bigint)

-- name: named_node
-- The node with this name; of a group with the number of its members, which is that of its parents.
-- Index awa_workflow_nodes_name.
SELECT type, number, state, job_id,
       parents_open + parents_succeeded + parents_failed + parents_skipped AS members
FROM awa.workflow_nodes
WHERE workflow_id = :workflow::bigint AND name = :name::text
  -- Retention deletes the row first.
  AND EXISTS (SELECT FROM awa.workflows WHERE id = :workflow::bigint)

-- name: numbered_node
-- The node with this number, as named_node returns one.  Primary key.
SELECT type, number, state, job_id, 0 AS members
FROM awa.workflow_nodes
WHERE workflow_id = :workflow::bigint AND number = :number::int

-- name: signal_payload
-- What was sent with a signal.  Primary key.
SELECT args::text AS payload FROM awa.workflow_nodes
WHERE workflow_id = :workflow::bigint AND number = :number::int

-- name: group_results
-- A page of the results of tasks with numbers in a range, in order: of at most :limit tasks, and of
-- one at least, together of at most :bytes.  No lock; primary keys, that of the results row by row
-- because of the limit.  The value of a result that is left to a later page is not read;
-- of one that has expired there is only when.
SELECT number, size_bytes, value::text AS value, job_id, expired_at
FROM (
    SELECT n.number, n.job_id, r.size_bytes, r.value, r.expired_at,
           row_number() OVER page AS place,
           coalesce(sum(r.size_bytes) OVER page, 0) AS size
    FROM (
        SELECT number, job_id FROM awa.workflow_nodes
        WHERE workflow_id = :workflow::bigint AND number > :after::int AND number <= :until::int
        ORDER BY number
        LIMIT :limit::int
    ) AS n
    LEFT JOIN LATERAL (
        SELECT size_bytes, CASE WHEN expires_at > now() THEN value END AS value,
               CASE WHEN value IS NULL OR expires_at <= now() THEN expires_at END AS expired_at
        FROM awa.job_results WHERE job_id = n.job_id LIMIT 1
    ) AS r ON true
    WINDOW page AS (ORDER BY n.number)
) AS found
WHERE place = 1 OR size <= :bytes::bigint
ORDER BY number

-- name: add_nodes
-- Count new nodes, and those of them that wait and have started.  Primary key.
UPDATE awa.workflows
SET nodes = nodes + :nodes::int, waiting = waiting + :waiting::int, started = started + :started::int
WHERE id = :workflow::bigint

-- name: add_extension
-- Note the key of an extension, unless it is there.  Whoever calls it has locked the workflow.
INSERT INTO awa.workflow_extensions (workflow_id, key)
VALUES (:workflow::bigint, :key::text)
ON CONFLICT DO NOTHING
RETURNING key

-- name: note_ends
-- Note that these jobs have ended, in the transaction of their ends.
INSERT INTO awa.workflow_events (workflow_id, job_ids)
SELECT workflow_id, array_agg(job_id)
FROM unnest(:workflows::bigint[], :ids::bigint[]) AS ended (workflow_id, job_id)
GROUP BY workflow_id
ORDER BY workflow_id

-- name: note_signal
-- Note a signal; the node is made if no task waits for it yet.
WITH made AS (
    INSERT INTO awa.workflow_nodes (workflow_id, number, type, name)
    SELECT id, nodes + 1, 'signal', :name::text FROM awa.workflows
    WHERE id = :workflow::bigint
    ON CONFLICT DO NOTHING
    RETURNING number
), counted AS (
    UPDATE awa.workflows SET nodes = nodes + 1
    WHERE id = :workflow::bigint AND EXISTS (SELECT FROM made)
)
INSERT INTO awa.workflow_events (workflow_id, signal, payload)
VALUES (:workflow::bigint, :name::text, :payload::jsonb)

-- name: unseen_ends
-- Note ends that nobody has noted: those by workers of awa 0.5, operators, rescues and deletions;
-- and jobs that were retried.  Reads the tasks of open workflows from a place on, and returns the
-- last place; each page is a range of the primary key.  Workflows in which nothing has started have
-- none, and are not read: 10,000 of 100 tasks took 1.5 s.
WITH page AS MATERIALIZED (
    SELECT w.id AS workflow_id, n.number, n.job_id, n.state
    FROM awa.workflows AS w
    CROSS JOIN LATERAL (
        SELECT number, job_id, state FROM awa.workflow_nodes
        WHERE workflow_id = w.id AND type = 'task'
          AND number > CASE WHEN w.id = :workflow::bigint THEN :number::int ELSE 0 END
          AND (state IN ('started', 'succeeded', 'failed') OR (state = 'cancelled' AND args IS NULL))
        ORDER BY number
        LIMIT :limit::int
    ) AS n
    WHERE w.state = 'open' AND w.id >= :workflow::bigint
      AND w.started + w.succeeded + w.failed + w.cancelled > 0
    ORDER BY w.id, n.number
    LIMIT :limit::int
), differing AS MATERIALIZED (
    SELECT p.workflow_id, p.job_id
    FROM page AS p
    LEFT JOIN LATERAL (
        SELECT state::text, finalized_at FROM awa.jobs_hot WHERE id = p.job_id
    ) AS hot ON true
    LEFT JOIN LATERAL (SELECT state::text FROM awa.scheduled_jobs WHERE id = p.job_id) AS cold
      ON hot.state IS NULL
    CROSS JOIN LATERAL (SELECT coalesce(hot.state, cold.state) AS state) AS job
    WHERE CASE WHEN job.state IS NULL THEN p.state = 'started'
               WHEN job.state NOT IN ('completed', 'failed', 'cancelled') THEN p.state <> 'started'
               -- The process that has written the end is about to move the workflow on.
               ELSE p.state = 'started'
                   AND coalesce(hot.finalized_at < now() - interval '1 second', true) END
), unnoted AS (
    -- A workflow that cannot be moved on is not noted again and again.
    SELECT workflow_id, job_id FROM differing
    EXCEPT
    SELECT e.workflow_id, j.job_id
    FROM awa.workflow_events AS e
    CROSS JOIN LATERAL unnest(e.job_ids) AS j (job_id)
    WHERE e.workflow_id = ANY (ARRAY(SELECT workflow_id FROM differing))
), noted AS (
    INSERT INTO awa.workflow_events (workflow_id, job_ids)
    SELECT workflow_id, array_agg(job_id) FROM unnoted GROUP BY workflow_id ORDER BY workflow_id
)
SELECT count(*) AS read, (SELECT count(*) FROM differing) AS noted,
       (SELECT workflow_id FROM page ORDER BY workflow_id DESC, number DESC LIMIT 1) AS workflow_id,
       (SELECT number FROM page ORDER BY workflow_id DESC, number DESC LIMIT 1) AS number
FROM page

-- name: left_events
-- Workflows behind this one with events that nobody has taken for a while.  Index
-- awa_workflow_events_workflow.
SELECT DISTINCT workflow_id FROM awa.workflow_events
WHERE workflow_id > :after::bigint AND at < now() - make_interval(secs => :seconds::float8)
ORDER BY workflow_id
LIMIT :limit::int

-- name: cancel_workflow
-- Say that a workflow is cancelled, and leave an event so that it is resolved.
WITH asked AS (
    UPDATE awa.workflows SET cancelled_at = coalesce(cancelled_at, now())
    WHERE id = :workflow::bigint AND state = 'open'
    RETURNING id
)
INSERT INTO awa.workflow_events (workflow_id) SELECT id FROM asked

-- name: retry_targets
-- The tasks that a retry of a workflow is about: the given nodes and members of the given groups, or
-- all that failed or were cancelled; and, if asked, all tasks behind them that have ended.  is_live
-- says that the job runs again or waits for that.  Tasks are behind a member by way of its group,
-- so that each edge is walked once and not for each member.  Row by row by primary keys: without
-- statistics of a new workflow, joins took two minutes of a chain of 20,000.
WITH RECURSIVE targets AS (
    SELECT number FROM awa.workflow_nodes
    WHERE workflow_id = :workflow::bigint AND type = 'task'
      AND CASE WHEN :all::boolean THEN state IN ('failed', 'cancelled')
          ELSE number = ANY (:numbers::int[])
              OR (group_number = ANY (:numbers::int[]) AND state IN ('failed', 'cancelled')) END
), behind AS (
    SELECT number, false AS is_behind FROM targets
    UNION
    SELECT n.number, n.is_behind
    FROM behind AS b
    CROSS JOIN LATERAL (
        SELECT number, true AS is_behind FROM (
            SELECT child AS number FROM awa.workflow_edges
            WHERE workflow_id = :workflow::bigint AND parent = b.number
            OFFSET 0
        ) AS e
        UNION ALL
        -- The limit keeps the condition outside: with it the index of members would be read whole.
        SELECT number, b.is_behind FROM (
            SELECT group_number AS number FROM awa.workflow_nodes
            WHERE workflow_id = :workflow::bigint AND number = b.number
            LIMIT 1
        ) AS g
        WHERE number IS NOT NULL
    ) AS n
    WHERE :downstream::boolean
)
SELECT n.number, n.state, n.job_id, coalesce(n.name, g.name || '[' || n.number - g.number - 1 || ']')
           AS label, n.args IS NOT NULL AS has_args, b.is_behind,
       coalesce(hot.is_live, cold.is_live, false) AS is_live
FROM (SELECT number, bool_and(is_behind) AS is_behind FROM behind GROUP BY number) AS b
CROSS JOIN LATERAL (
    SELECT number, type, state, job_id, name, group_number, args FROM awa.workflow_nodes
    WHERE workflow_id = :workflow::bigint AND number = b.number
    LIMIT 1
) AS n
LEFT JOIN LATERAL (
    SELECT number, name FROM awa.workflow_nodes
    WHERE workflow_id = :workflow::bigint AND number = n.group_number
    LIMIT 1
) AS g ON true
LEFT JOIN LATERAL (
    SELECT state NOT IN ('completed', 'failed', 'cancelled') AS is_live
    FROM awa.jobs_hot WHERE id = n.job_id
    LIMIT 1
) AS hot ON true
LEFT JOIN LATERAL (
    SELECT true AS is_live FROM awa.scheduled_jobs WHERE id = n.job_id
    LIMIT 1
) AS cold ON true
WHERE n.type = 'task' AND n.state IN ('succeeded', 'failed', 'cancelled')
ORDER BY n.number

-- name: reset_nodes
-- Make ended tasks wait again, for a new job with the args of the old one; returns the numbers of
-- those whose args are there.  Leaves an event from which their children are decided anew.  The
-- nodes are found twice, by primary key, in place of a join.
WITH targets AS MATERIALIZED (
    SELECT n.number, n.group_number, n.state
    FROM awa.workflow_nodes AS n
    WHERE n.workflow_id = :workflow::bigint AND n.number = ANY (:numbers::int[])
      AND (n.args IS NOT NULL
           OR EXISTS (SELECT FROM awa.jobs_hot WHERE id = n.job_id
                      AND state IN ('completed', 'failed', 'cancelled') LIMIT 1)
           OR EXISTS (SELECT FROM awa.dead_letters WHERE id = n.job_id LIMIT 1))
), reset AS (
    UPDATE awa.workflow_nodes AS n
    SET state = 'waiting', ended_at = NULL,
        args = coalesce(n.args, (SELECT args FROM awa.jobs_hot WHERE id = n.job_id),
                        (SELECT args FROM awa.dead_letters WHERE id = n.job_id)),
        job_id = CASE WHEN n.args IS NULL THEN nextval('awa.jobs_id_seq') ELSE n.job_id END
    WHERE n.workflow_id = :workflow::bigint
      AND n.number = ANY (ARRAY(SELECT number FROM targets))
    RETURNING n.number
), noted AS (
    INSERT INTO awa.workflow_events (workflow_id, changes)
    SELECT :workflow::bigint, jsonb_agg(jsonb_build_object(
        'number', number, 'group_number', group_number, 'signal', false, 'new', 1, 'old',
        CASE state WHEN 'succeeded' THEN 3 WHEN 'failed' THEN 4 ELSE 5 END))
    FROM targets
    HAVING count(*) > 0
)
SELECT number FROM reset ORDER BY number

-- name: reopen_workflow
-- A cancelled workflow goes on.  Primary key.
UPDATE awa.workflows SET cancelled_at = NULL
WHERE id = :workflow::bigint AND cancelled_at IS NOT NULL

-- name: started_jobs
-- The jobs of started tasks that the cancel of a workflow ends: all but those that run always.
-- Primary key.
SELECT job_id, number FROM awa.workflow_nodes
WHERE workflow_id = :workflow::bigint AND type = 'task' AND state = 'started' AND rule <> 'always'
  AND number > :number::int
ORDER BY number
LIMIT :limit::int

-- name: forget_workflow
-- Choose the workflow to delete: one whose deletion has begun, or else the one that ended first, if
-- that is long ago and it has no events.  The row goes first, so that from this commit on nobody
-- finds a part of it; what it leaves is found by its id in awa.forgotten_workflows.  Locks that, and
-- passes over what is locked.  Index awa_workflows_finished.
WITH begun AS MATERIALIZED (
    SELECT id FROM awa.forgotten_workflows
    ORDER BY id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
), old AS MATERIALIZED (
    SELECT id FROM awa.workflows AS w
    WHERE finished_at < now() - make_interval(secs => :seconds::float8)
      AND NOT EXISTS (SELECT FROM awa.workflow_events AS e WHERE e.workflow_id = w.id)
      AND NOT EXISTS (SELECT FROM begun)
    ORDER BY finished_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.workflows WHERE id = ANY (ARRAY(SELECT id FROM old))
    RETURNING id
), noted AS (
    INSERT INTO awa.forgotten_workflows (id) SELECT id FROM gone
)
SELECT id FROM begun
UNION ALL
SELECT id FROM gone

-- name: forget_edges
-- Delete a batch of the edges of a workflow.  Primary key.
WITH gone AS (
    DELETE FROM awa.workflow_edges WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM awa.workflow_edges WHERE workflow_id = :workflow::bigint
        LIMIT :limit::int))
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: forget_nodes
-- Delete a batch of its nodes.  Primary key.
WITH gone AS (
    DELETE FROM awa.workflow_nodes WHERE workflow_id = :workflow::bigint AND number = ANY (ARRAY(
        SELECT number FROM awa.workflow_nodes WHERE workflow_id = :workflow::bigint
        LIMIT :limit::int))
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: forgotten
-- Delete the keys of its extensions, and that its deletion has begun.  Primary keys.
WITH keys AS (
    DELETE FROM awa.workflow_extensions WHERE workflow_id = :workflow::bigint
)
DELETE FROM awa.forgotten_workflows WHERE id = :workflow::bigint

-- name: forget_events
-- Delete the events of a workflow that is gone: those of a job that has outlived it.  Index
-- awa_workflow_events_workflow.
DELETE FROM awa.workflow_events
WHERE workflow_id = :workflow::bigint
  AND NOT EXISTS (SELECT FROM awa.workflows WHERE id = :workflow::bigint)
