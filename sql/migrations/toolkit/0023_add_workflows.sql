-- summary: workflows: jobs that wait for other jobs
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (23, 'add_workflows');

-- A workflow is a graph of nodes.  Its row is the lock of the graph: whoever changes a node or adds
-- one holds the row until the commit, so the counts below are exact.
CREATE TABLE IF NOT EXISTS awa.workflows (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    -- With the name, unique.
    key         text,
    state       text NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'succeeded', 'failed', 'cancelled')),
    cancelled_at timestamptz,
    -- Nodes so far, and tasks in each state.
    nodes       integer NOT NULL DEFAULT 0,
    waiting     integer NOT NULL DEFAULT 0,
    started     integer NOT NULL DEFAULT 0,
    succeeded   integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    cancelled   integer NOT NULL DEFAULT 0,
    skipped     integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

CREATE UNIQUE INDEX IF NOT EXISTS awa_workflows_key ON awa.workflows (name, key)
WHERE key IS NOT NULL;
-- The sweep of the leader.
CREATE INDEX IF NOT EXISTS awa_workflows_open ON awa.workflows (id) WHERE state = 'open';
-- The purge of the leader.
CREATE INDEX IF NOT EXISTS awa_workflows_finished ON awa.workflows (finished_at)
WHERE finished_at IS NOT NULL;

-- A node is a task, a group of tasks or a signal.  A task has its job's id from the beginning; the
-- job is inserted when the task starts, so workers never see a job that waits.  parents_* of a
-- task counts its parents: those that are not over, and those of each outcome; a group counts as
-- often as a member of it does.  parents_* of a group counts its members.
CREATE TABLE IF NOT EXISTS awa.workflow_nodes (
    workflow_id  bigint NOT NULL,
    number       integer NOT NULL,
    type         text NOT NULL CHECK (type IN ('task', 'group', 'signal')),
    -- Null for a member of a group.
    name         text,
    group_number integer,
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN (
                     'waiting', 'started', 'succeeded', 'failed', 'cancelled', 'skipped')),
    rule         text NOT NULL DEFAULT 'all_succeeded' CHECK (rule IN (
                     'all_succeeded', 'all_done', 'any_failed', 'any_succeeded', 'all_failed',
                     'always')),
    on_parent_failure text NOT NULL DEFAULT 'skip' CHECK (on_parent_failure IN ('skip', 'wait')),
    parents_open      integer NOT NULL DEFAULT 0,
    parents_succeeded integer NOT NULL DEFAULT 0,
    parents_failed    integer NOT NULL DEFAULT 0,
    parents_skipped   integer NOT NULL DEFAULT 0,
    signals_open      integer NOT NULL DEFAULT 0,
    job_id       bigint,
    kind         text,
    queue        text,
    priority     smallint,
    max_attempts smallint,
    -- Of the job, until it is over; of a signal, what it brought.
    args         jsonb,
    metadata     jsonb,
    tags         text[],
    not_before   timestamptz,
    wait_seconds float8,
    ended_at     timestamptz,
    PRIMARY KEY (workflow_id, number)
) WITH (fillfactor = 70);  -- No index holds what changes: updates stay in the page.

CREATE UNIQUE INDEX IF NOT EXISTS awa_workflow_nodes_job ON awa.workflow_nodes (job_id)
WHERE job_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS awa_workflow_nodes_name ON awa.workflow_nodes (workflow_id, name)
WHERE name IS NOT NULL;
-- Members of a group.
CREATE INDEX IF NOT EXISTS awa_workflow_nodes_group
ON awa.workflow_nodes (workflow_id, group_number) WHERE group_number IS NOT NULL;

CREATE TABLE IF NOT EXISTS awa.workflow_edges (
    workflow_id bigint NOT NULL,
    parent      integer NOT NULL,
    child       integer NOT NULL,
    PRIMARY KEY (workflow_id, parent, child)
);

-- What happened and is not in the graph yet.  An end is written here in its own transaction;
-- awa.resolve_workflow takes it from here.
CREATE TABLE IF NOT EXISTS awa.workflow_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id bigint NOT NULL,
    -- Of jobs whose state may have changed.
    job_ids     bigint[] NOT NULL DEFAULT '{}',
    signal      text,
    payload     jsonb,
    -- Changes of nodes whose children a long cascade has not reached yet.
    changes     jsonb,
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS awa_workflow_events_workflow ON awa.workflow_events (workflow_id);

-- Bring the graph up to date: take the events of the workflow, and start or skip the tasks that
-- they decide, and those that those decide.  Locks the row of the workflow until the commit; jobs
-- are only read and inserted.  Each statement of a volatile function sees what was committed before
-- it began, so under that lock every end that is committed is seen.  An end that commits later
-- calls this after its commit.
--
-- Nodes from p_fresh on are new; p_parents are the older nodes that they wait for.  Returns true
-- when a long cascade goes on with the next call.
--
-- The state of a job's row decides, not the event: an event may come late or twice.
CREATE OR REPLACE FUNCTION awa.resolve_workflow(
    p_workflow bigint, p_fresh integer DEFAULT NULL, p_parents integer[] DEFAULT '{}'
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
    v_flow    awa.workflows;
    v_events  awa.workflow_events[];
    v_jobs    bigint[];
    v_decide  integer[] := '{}';
    v_start   integer[];
    v_hot     bigint;
    v_passes  integer := 0;
    v_sum     integer[] := '{0,0,0,0,0,0}';
    -- The nodes that the last pass changed.
    v_number  integer[] := '{}';
    v_group   integer[] := '{}';
    v_signal  boolean[] := '{}';
    v_old     text[] := '{}';
    v_new     text[] := '{}';
BEGIN
    SELECT * INTO v_flow FROM awa.workflows WHERE id = p_workflow FOR UPDATE;
    WITH taken AS (
        DELETE FROM awa.workflow_events WHERE workflow_id = p_workflow RETURNING *
    )
    SELECT array_agg(taken ORDER BY taken.id) INTO v_events FROM taken;
    IF v_flow IS NULL OR (v_events IS NULL AND p_fresh IS NULL) THEN
        RETURN false;
    END IF;

    SELECT array_agg(DISTINCT job_id) INTO v_jobs
    FROM unnest(v_events) AS e CROSS JOIN LATERAL unnest(e.job_ids) AS j (job_id);

    WITH jobs AS MATERIALIZED (
        SELECT i.id, coalesce(hot.state::text, cold.state::text, dead.state::text) AS state
        FROM unnest(v_jobs) AS i (id)
        LEFT JOIN LATERAL (SELECT state FROM awa.jobs_hot WHERE id = i.id) AS hot ON true
        LEFT JOIN LATERAL (SELECT state FROM awa.scheduled_jobs WHERE id = i.id) AS cold ON true
        LEFT JOIN LATERAL (SELECT state FROM awa.dead_letters WHERE id = i.id) AS dead ON true
    ), seen AS MATERIALIZED (
        SELECT n.number, n.state AS old, CASE
            WHEN jobs.state = 'completed' THEN 'succeeded'
            WHEN jobs.state IN ('failed', 'cancelled') THEN jobs.state
            -- Deleted before its end was seen.
            WHEN jobs.state IS NULL THEN CASE n.state WHEN 'started' THEN 'cancelled' ELSE n.state END
            ELSE 'started' END AS new
        FROM jobs
        JOIN awa.workflow_nodes AS n ON n.job_id = jobs.id
        WHERE n.workflow_id = p_workflow AND n.state NOT IN ('waiting', 'skipped')
          AND (n.state <> 'cancelled' OR n.args IS NULL)
    ), written AS (
        UPDATE awa.workflow_nodes AS n
        SET state = seen.new,
            args = CASE seen.new WHEN 'started' THEN n.args END,
            ended_at = CASE seen.new WHEN 'started' THEN NULL ELSE now() END
        FROM seen
        WHERE n.workflow_id = p_workflow AND n.number = seen.number AND seen.old <> seen.new
        RETURNING n.number, n.group_number, seen.old, seen.new
    ), arrived AS (
        UPDATE awa.workflow_nodes AS n
        SET state = 'succeeded', args = e.payload, ended_at = e.at
        FROM unnest(v_events) AS e
        WHERE n.workflow_id = p_workflow AND n.name = e.signal AND n.type = 'signal'
          AND n.state = 'waiting'
        RETURNING n.number
    ), fresh AS (
        SELECT n.number, n.group_number, n.type = 'signal' AS signal, n.state
        FROM awa.workflow_nodes AS n
        WHERE n.workflow_id = p_workflow AND n.number >= p_fresh AND n.type <> 'group'
    ), changed AS (
        SELECT number, group_number, false AS signal, old, new FROM written
        UNION ALL
        SELECT number, NULL, true, 'waiting', 'succeeded' FROM arrived
        UNION ALL
        SELECT number, group_number, signal, NULL, state FROM fresh
        UNION ALL
        SELECT c.* FROM unnest(v_events) AS e
        CROSS JOIN LATERAL jsonb_to_recordset(e.changes)
            AS c (number integer, group_number integer, signal boolean, old text, new text)
    )
    SELECT array_agg(number), array_agg(group_number), array_agg(signal), array_agg(old),
           array_agg(new)
    INTO v_number, v_group, v_signal, v_old, v_new
    FROM changed;

    -- Parents that were there before count as they are.
    IF p_fresh IS NOT NULL THEN
        UPDATE awa.workflow_nodes AS n
        SET parents_open = c.open, parents_succeeded = c.succeeded, parents_failed = c.failed,
            parents_skipped = c.skipped, signals_open = c.signals
        FROM (
            SELECT e.child, sum(f.open)::int AS open, sum(f.succeeded)::int AS succeeded,
                   sum(f.failed)::int AS failed, sum(f.skipped)::int AS skipped,
                   sum(f.signals)::int AS signals
            FROM unnest(p_parents) AS p (number)
            JOIN awa.workflow_nodes AS n ON n.workflow_id = p_workflow AND n.number = p.number
            CROSS JOIN LATERAL (
                SELECT CASE n.type WHEN 'group' THEN n.parents_open > 0
                           ELSE n.type = 'task' AND n.state IN ('waiting', 'started') END::int AS open,
                       CASE n.type WHEN 'group' THEN n.parents_succeeded > 0
                           ELSE n.type = 'task' AND n.state = 'succeeded' END::int AS succeeded,
                       CASE n.type WHEN 'group' THEN n.parents_failed > 0
                           ELSE n.state IN ('failed', 'cancelled') END::int AS failed,
                       CASE n.type WHEN 'group' THEN n.parents_skipped > 0
                           ELSE n.state = 'skipped' END::int AS skipped,
                       (n.type = 'signal' AND n.state = 'waiting')::int AS signals
            ) AS f
            JOIN awa.workflow_edges AS e
              ON e.workflow_id = p_workflow AND e.parent = p.number AND e.child >= p_fresh
            GROUP BY e.child
        ) AS c
        WHERE n.workflow_id = p_workflow AND n.number = c.child;
        SELECT array_agg(number) INTO v_decide FROM awa.workflow_nodes
        WHERE workflow_id = p_workflow AND number >= p_fresh AND type = 'task';
    END IF;
    IF v_flow.cancelled_at IS NOT NULL AND v_flow.waiting > 0 THEN
        SELECT v_decide || array_agg(number) INTO v_decide FROM awa.workflow_nodes
        WHERE workflow_id = p_workflow AND type = 'task' AND state = 'waiting' AND rule <> 'always';
    END IF;

    LOOP
        EXIT WHEN v_number IS NULL AND cardinality(v_decide) = 0;
        IF v_passes = 1000 THEN
            INSERT INTO awa.workflow_events (workflow_id, changes)
            SELECT p_workflow, jsonb_agg(c)
            FROM unnest(v_number, v_group, v_signal, v_old, v_new)
                AS c (number, group_number, signal, old, new);
            EXIT;
        END IF;
        v_passes := v_passes + 1;

        SELECT ARRAY[
                v_sum[1] + coalesce(sum((new = 'waiting')::int - (old IS NOT DISTINCT FROM 'waiting')::int), 0),
                v_sum[2] + coalesce(sum((new = 'started')::int - (old IS NOT DISTINCT FROM 'started')::int), 0),
                v_sum[3] + coalesce(sum((new = 'succeeded')::int - (old IS NOT DISTINCT FROM 'succeeded')::int), 0),
                v_sum[4] + coalesce(sum((new = 'failed')::int - (old IS NOT DISTINCT FROM 'failed')::int), 0),
                v_sum[5] + coalesce(sum((new = 'cancelled')::int - (old IS NOT DISTINCT FROM 'cancelled')::int), 0),
                v_sum[6] + coalesce(sum((new = 'skipped')::int - (old IS NOT DISTINCT FROM 'skipped')::int), 0)]
        INTO v_sum
        FROM unnest(v_signal, v_old, v_new) AS c (signal, old, new) WHERE NOT signal;

        WITH changed AS MATERIALIZED (
            SELECT number, group_number, signal,
                   (new IN ('waiting', 'started'))::int
                       - (old IS NOT NULL AND old IN ('waiting', 'started'))::int AS open,
                   (new = 'succeeded')::int - (old IS NOT DISTINCT FROM 'succeeded')::int AS succeeded,
                   (new IN ('failed', 'cancelled'))::int
                       - (old IS NOT NULL AND old IN ('failed', 'cancelled'))::int AS failed,
                   (new = 'skipped')::int - (old IS NOT DISTINCT FROM 'skipped')::int AS skipped
            FROM unnest(v_number, v_group, v_signal, v_old, v_new)
                AS c (number, group_number, signal, old, new)
        ), groups AS (
            UPDATE awa.workflow_nodes AS g
            SET parents_open = g.parents_open + d.open,
                parents_succeeded = g.parents_succeeded + d.succeeded,
                parents_failed = g.parents_failed + d.failed,
                parents_skipped = g.parents_skipped + d.skipped
            FROM (
                SELECT group_number, sum(open)::int AS open, sum(succeeded)::int AS succeeded,
                       sum(failed)::int AS failed, sum(skipped)::int AS skipped
                FROM changed WHERE group_number IS NOT NULL GROUP BY group_number
            ) AS d
            WHERE g.workflow_id = p_workflow AND g.number = d.group_number
            RETURNING g.number,
                (g.parents_open > 0)::int - (g.parents_open - d.open > 0)::int AS open,
                (g.parents_succeeded > 0)::int - (g.parents_succeeded - d.succeeded > 0)::int
                    AS succeeded,
                (g.parents_failed > 0)::int - (g.parents_failed - d.failed > 0)::int AS failed,
                (g.parents_skipped > 0)::int - (g.parents_skipped - d.skipped > 0)::int AS skipped
        ), parents AS MATERIALIZED (
            SELECT number, open, succeeded, failed, skipped, 0 AS signals FROM changed
            WHERE NOT signal AND (open <> 0 OR succeeded <> 0 OR failed <> 0 OR skipped <> 0)
            UNION ALL
            SELECT number, 0, 0, 0, 0, open FROM changed WHERE signal
            UNION ALL
            SELECT *, 0 FROM groups WHERE open <> 0 OR succeeded <> 0 OR failed <> 0 OR skipped <> 0
        ), delta AS MATERIALIZED (
            SELECT child, sum(open)::int AS open, sum(succeeded)::int AS succeeded,
                   sum(failed)::int AS failed, sum(skipped)::int AS skipped,
                   sum(signals)::int AS signals
            FROM (
                SELECT e.child, p.open, p.succeeded, p.failed, p.skipped, p.signals
                FROM parents AS p
                JOIN awa.workflow_edges AS e
                  ON e.workflow_id = p_workflow AND e.parent = p.number
                UNION ALL
                SELECT number, 0, 0, 0, 0, 0 FROM unnest(v_decide) AS d (number)
            ) AS each
            GROUP BY child
        ), counted AS MATERIALIZED (
            SELECT n.number, n.state AS old, n.rule, n.on_parent_failure,
                   n.parents_open + d.open AS open, n.parents_succeeded + d.succeeded AS succeeded,
                   n.parents_failed + d.failed AS failed, n.parents_skipped + d.skipped AS skipped,
                   n.signals_open + d.signals AS signals
            FROM delta AS d
            JOIN awa.workflow_nodes AS n ON n.workflow_id = p_workflow AND n.number = d.child
        ), decided AS MATERIALIZED (
            SELECT number, open, succeeded, failed, skipped, signals, old, CASE
                WHEN old NOT IN ('waiting', 'skipped') THEN old
                WHEN v_flow.cancelled_at IS NOT NULL AND rule <> 'always'
                    THEN CASE old WHEN 'waiting' THEN 'cancelled' ELSE old END
                WHEN rule = 'all_succeeded' AND failed + skipped > 0
                    THEN CASE on_parent_failure WHEN 'wait' THEN 'waiting' ELSE 'skipped' END
                WHEN rule = 'all_failed' AND succeeded + skipped > 0 THEN 'skipped'
                WHEN signals > 0 THEN 'waiting'
                WHEN rule = 'any_failed' AND failed > 0 THEN 'started'
                WHEN rule = 'any_succeeded' AND succeeded > 0 THEN 'started'
                WHEN open > 0 THEN 'waiting'
                WHEN rule IN ('any_failed', 'any_succeeded') THEN 'skipped'
                ELSE 'started' END AS new
            FROM counted
        ), written AS (
            UPDATE awa.workflow_nodes AS n
            SET parents_open = d.open, parents_succeeded = d.succeeded, parents_failed = d.failed,
                parents_skipped = d.skipped, signals_open = d.signals, state = d.new,
                ended_at = CASE WHEN d.new = d.old THEN n.ended_at
                                WHEN d.new IN ('skipped', 'cancelled') THEN now() END
            FROM decided AS d
            WHERE n.workflow_id = p_workflow AND n.number = d.number
            RETURNING n.number, n.group_number, d.old, d.new
        )
        SELECT array_agg(number), array_agg(group_number), array_agg(false), array_agg(old),
               array_agg(new), array_agg(number ORDER BY number) FILTER (WHERE new = 'started')
        INTO v_number, v_group, v_signal, v_old, v_new, v_start
        FROM written WHERE old <> new;
        v_decide := '{}';

        IF v_start IS NOT NULL THEN
            PERFORM awa.assert_writable_canonical_storage();
            INSERT INTO awa.jobs_hot (
                id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags
            )
            SELECT job_id, kind, queue, args, 'available', priority, max_attempts, now(),
                   metadata || jsonb_build_object('_awa_workflow', p_workflow), tags
            FROM awa.workflow_nodes
            WHERE workflow_id = p_workflow AND number = ANY (v_start)
              AND coalesce(not_before <= now(), true) AND coalesce(wait_seconds <= 0, true)
            ORDER BY number;
            GET DIAGNOSTICS v_hot = ROW_COUNT;
            IF v_hot < cardinality(v_start) THEN
                INSERT INTO awa.scheduled_jobs (
                    id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags
                )
                SELECT job_id, kind, queue, args, 'scheduled', priority, max_attempts,
                       greatest(not_before, now() + make_interval(secs => wait_seconds)),
                       metadata || jsonb_build_object('_awa_workflow', p_workflow), tags
                FROM awa.workflow_nodes
                WHERE workflow_id = p_workflow AND number = ANY (v_start)
                  AND (not_before > now() OR wait_seconds > 0)
                ORDER BY number;
            END IF;
        END IF;
    END LOOP;

    UPDATE awa.workflows AS w
    SET waiting = s.waiting, started = s.started, succeeded = s.succeeded, failed = s.failed,
        cancelled = s.cancelled, skipped = s.skipped,
        state = CASE
            WHEN s.waiting + s.started > 0 THEN 'open'
            WHEN w.cancelled_at IS NOT NULL THEN 'cancelled'
            WHEN s.failed + s.cancelled > 0 THEN 'failed'
            ELSE 'succeeded' END,
        finished_at = CASE WHEN s.waiting + s.started = 0 THEN coalesce(w.finished_at, now()) END
    FROM (
        SELECT v_flow.waiting + v_sum[1] AS waiting, v_flow.started + v_sum[2] AS started,
               v_flow.succeeded + v_sum[3] AS succeeded, v_flow.failed + v_sum[4] AS failed,
               v_flow.cancelled + v_sum[5] AS cancelled, v_flow.skipped + v_sum[6] AS skipped
    ) AS s
    WHERE w.id = p_workflow;
    RETURN v_passes = 1000 AND v_number IS NOT NULL;
END
$function$;

REVOKE ALL ON FUNCTION awa.resolve_workflow(bigint, integer, integer[]) FROM PUBLIC;
