-- summary: workflows: fewer statements and look-ups for each move
-- breaking: no
-- Locks: none that workers wait for.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (29, 'move_workflows_faster');

-- Bring the graph up to date: take the events of the workflow, and start or skip the tasks that
-- they decide, and those that those decide.  Locks the row of the workflow until the commit; jobs
-- are only read and inserted.  Each statement of a volatile function sees what was committed before
-- it began, so under that lock every end that is committed is seen.  An end that commits later
-- calls this after its commit.
--
-- Nodes from p_fresh on are new; p_parents are the older nodes that they wait for.  Returns true
-- when there is more to do: a long cascade goes on with the next call, and of many tasks that start
-- at once each call starts some, so that workers have them at once and the lock is free in between.
--
-- The state of a job's row decides, not the event: an event may come late or twice.
--
-- Sets are arrays, sorted by number, and rows are found by number = ANY (array) or one by one: no
-- join from which the planner could make a scan of the graph for each node.  The values of a node
-- are found by its place in the array.  States are numbers there, because elements of one size are
-- found at once.
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
    c_states CONSTANT text[] := '{waiting,started,succeeded,failed,cancelled,skipped}';
    v_flow    awa.workflows;
    v_events  awa.workflow_events[];
    v_jobs    bigint[];
    v_decide  integer[] := '{}';
    v_start   integer[];
    v_hot     bigint;
    v_passes  integer := 0;
    v_is_more boolean := false;
    v_later   integer[] := '{}';
    v_counts  integer[];
    v_ended   record;
    v_event   awa.workflow_events;
    v_number  integer;
    v_group   record;
    v_node    record;
    v_flag    record;
    -- What the last pass changed; the state of a new node was null.
    v_changed record;
    v_parent  record;
    v_delta   record;
    v_next    record;
BEGIN
    SELECT * INTO v_flow FROM awa.workflows WHERE id = p_workflow FOR UPDATE;
    WITH taken AS (
        DELETE FROM awa.workflow_events WHERE workflow_id = p_workflow RETURNING *
    )
    SELECT array_agg(taken ORDER BY taken.id), (
        SELECT array_agg(DISTINCT job_id)
        FROM taken CROSS JOIN LATERAL unnest(taken.job_ids) AS j (job_id)
    ) INTO v_events, v_jobs
    FROM taken;
    IF v_flow IS NULL OR (v_events IS NULL AND p_fresh IS NULL) THEN
        RETURN false;
    END IF;
    v_counts := ARRAY[v_flow.waiting, v_flow.started, v_flow.succeeded, v_flow.failed,
                      v_flow.cancelled, v_flow.skipped];

    -- Tasks whose job is in another state than they say.  Most jobs are in jobs_hot: they are found
    -- together there, and only the others one by one.
    WITH hot AS MATERIALIZED (
        SELECT array_agg(id ORDER BY id) AS id, array_agg(CASE state
            WHEN 'completed' THEN 3 WHEN 'failed' THEN 4 WHEN 'cancelled' THEN 5 ELSE 2 END
            ORDER BY id) AS state
        FROM awa.jobs_hot WHERE id = ANY (v_jobs)
    )
    SELECT array_agg(number ORDER BY number) AS number, array_agg(old ORDER BY number) AS old,
           array_agg(new ORDER BY number) AS new
    INTO v_ended
    FROM (
        SELECT n.number, s.old, CASE WHEN hot.id[s.place] = noted.job_id THEN hot.state[s.place]
            ELSE coalesce(
                (SELECT 2 FROM awa.scheduled_jobs WHERE id = noted.job_id),
                (SELECT 4 FROM awa.dead_letters WHERE id = noted.job_id),
                -- Deleted before its end was seen.
                nullif(s.old, 2), 5) END AS new
        FROM hot
        CROSS JOIN unnest(v_jobs) AS noted (job_id)
        CROSS JOIN LATERAL (
            -- By the job: by the workflow, all its nodes would be read for each.
            SELECT number, state FROM awa.workflow_nodes
            WHERE job_id = noted.job_id AND workflow_id + 0 = p_workflow
              AND (state IN ('started', 'succeeded', 'failed')
                   OR (state = 'cancelled' AND args IS NULL))
            LIMIT 1
        ) AS n
        CROSS JOIN LATERAL (
            SELECT width_bucket(noted.job_id, hot.id) AS place,
                   array_position(c_states, n.state) AS old
        ) AS s
        OFFSET 0  -- else each row carries both arrays into the sort
    ) AS seen
    WHERE old <> new;

    WITH written AS (
        UPDATE awa.workflow_nodes
        SET state = c_states[v_ended.new[width_bucket(number, v_ended.number)]],
            args = NULL,
            ended_at = CASE WHEN v_ended.new[width_bucket(number, v_ended.number)] > 2 THEN now() END
        WHERE workflow_id = p_workflow AND number = ANY (v_ended.number)
        RETURNING number, group_number, width_bucket(number, v_ended.number) AS place
    )
    SELECT array_agg(number) AS number, array_agg(group_number) AS group_number,
           array_agg(false) AS signal, array_agg(v_ended.old[place]) AS old,
           array_agg(v_ended.new[place]) AS new
    INTO v_changed
    FROM written;

    FOREACH v_event IN ARRAY coalesce(v_events, '{}') LOOP
        IF v_event.signal IS NOT NULL THEN
            UPDATE awa.workflow_nodes
            SET state = 'succeeded', args = v_event.payload, ended_at = v_event.at
            WHERE workflow_id = p_workflow AND name = v_event.signal AND type = 'signal'
              AND state = 'waiting'
            RETURNING number INTO v_number;
            IF FOUND THEN
                v_changed.number := v_changed.number || v_number;
                v_changed.group_number := v_changed.group_number || NULL::integer;
                v_changed.signal := v_changed.signal || true;
                v_changed.old := v_changed.old || 1;
                v_changed.new := v_changed.new || 3;
            END IF;
        END IF;
        v_decide := v_decide || v_event.decide;
        IF v_event.changes IS NOT NULL THEN
            SELECT v_changed.number || array_agg(c.number) AS number,
                   v_changed.group_number || array_agg(c.group_number) AS group_number,
                   v_changed.signal || array_agg(c.signal) AS signal,
                   v_changed.old || array_agg(c.old) AS old, v_changed.new || array_agg(c.new) AS new
            INTO v_changed
            FROM jsonb_to_recordset(v_event.changes)
                AS c (number integer, group_number integer, signal boolean, old integer, new integer);
        END IF;
    END LOOP;

    IF p_fresh IS NULL THEN
        v_later := v_decide[2001:];
        v_decide := v_decide[:2000];
    ELSE
        SELECT v_changed.number || array_agg(number) AS number,
               v_changed.group_number || array_agg(group_number) AS group_number,
               v_changed.signal || array_agg(type = 'signal') AS signal,
               v_changed.old || array_agg(NULL::integer) AS old,
               v_changed.new || array_agg(1) AS new
        INTO v_changed
        FROM awa.workflow_nodes
        WHERE workflow_id = p_workflow AND number >= p_fresh AND type <> 'group';
    END IF;
    IF v_flow.cancelled_at IS NOT NULL AND v_flow.waiting > 0 THEN
        SELECT v_decide || array_agg(number) INTO v_decide FROM awa.workflow_nodes
        WHERE workflow_id = p_workflow AND type = 'task' AND state = 'waiting' AND rule <> 'always';
    END IF;

    LOOP
        EXIT WHEN v_changed.number IS NULL AND cardinality(v_decide) = 0;
        IF v_passes = 1000 THEN
            v_is_more := true;
            INSERT INTO awa.workflow_events (workflow_id, changes)
            SELECT p_workflow, jsonb_agg(c)
            FROM unnest(v_changed.number, v_changed.group_number, v_changed.signal, v_changed.old,
                        v_changed.new) AS c (number, group_number, signal, old, new);
            EXIT;
        END IF;
        v_passes := v_passes + 1;

        -- How many tasks are in each state; and what children see: whether a parent is over, and how.
        SELECT
            ARRAY[
                v_counts[1] + count(*) FILTER (WHERE task = 1) - count(*) FILTER (WHERE task_was = 1),
                v_counts[2] + count(*) FILTER (WHERE task = 2) - count(*) FILTER (WHERE task_was = 2),
                v_counts[3] + count(*) FILTER (WHERE task = 3) - count(*) FILTER (WHERE task_was = 3),
                v_counts[4] + count(*) FILTER (WHERE task = 4) - count(*) FILTER (WHERE task_was = 4),
                v_counts[5] + count(*) FILTER (WHERE task = 5) - count(*) FILTER (WHERE task_was = 5),
                v_counts[6] + count(*) FILTER (WHERE task = 6) - count(*) FILTER (WHERE task_was = 6)
            ] AS counts,
            array_agg(number) FILTER (WHERE is_seen) AS number,
            array_agg(CASE WHEN signal THEN 0 ELSE open END) FILTER (WHERE is_seen) AS open,
            array_agg(CASE WHEN signal THEN 0 ELSE succeeded END) FILTER (WHERE is_seen)
                AS succeeded,
            array_agg(failed) FILTER (WHERE is_seen) AS failed,
            array_agg(skipped) FILTER (WHERE is_seen) AS skipped,
            array_agg(CASE WHEN signal THEN open ELSE 0 END) FILTER (WHERE is_seen) AS signals,
            coalesce(bool_or(is_seen AND group_number IS NOT NULL), false) AS is_grouped,
            coalesce(bool_or(task = 1), false) AS is_waiting
        INTO v_parent
        FROM (
            SELECT *, open <> 0 OR succeeded <> 0 OR failed <> 0 OR skipped <> 0 AS is_seen
            FROM (
                SELECT number, group_number, signal, CASE WHEN NOT signal THEN new END AS task,
                       CASE WHEN NOT signal THEN old END AS task_was,
                       (new <= 2)::int - coalesce(old <= 2, false)::int AS open,
                       (new = 3)::int - coalesce(old = 3, false)::int AS succeeded,
                       (new IN (4, 5))::int - coalesce(old IN (4, 5), false)::int AS failed,
                       (new = 6)::int - coalesce(old = 6, false)::int AS skipped
                FROM unnest(v_changed.number, v_changed.group_number, v_changed.signal,
                            v_changed.old, v_changed.new) AS c (number, group_number, signal, old, new)
            ) AS d
        ) AS seen;
        v_counts := v_parent.counts;
        -- Tasks that have started change nothing for their children.
        EXIT WHEN v_parent.number IS NULL AND NOT v_parent.is_waiting
            AND cardinality(v_decide) = 0 AND (p_fresh IS NULL OR v_passes > 1);

        FOR v_group IN
            SELECT c.group_number AS number,
                   sum((new <= 2)::int - coalesce(old <= 2, false)::int) AS open,
                   sum((new = 3)::int - coalesce(old = 3, false)::int) AS succeeded,
                   sum((new IN (4, 5))::int - coalesce(old IN (4, 5), false)::int) AS failed,
                   sum((new = 6)::int - coalesce(old = 6, false)::int) AS skipped
            FROM unnest(v_changed.group_number, v_changed.old, v_changed.new)
                AS c (group_number, old, new)
            WHERE c.group_number IS NOT NULL AND v_parent.is_grouped
            GROUP BY c.group_number
        LOOP
            UPDATE awa.workflow_nodes AS g
            SET parents_open = g.parents_open + v_group.open,
                parents_succeeded = g.parents_succeeded + v_group.succeeded,
                parents_failed = g.parents_failed + v_group.failed,
                parents_skipped = g.parents_skipped + v_group.skipped
            WHERE g.workflow_id = p_workflow AND g.number = v_group.number
            RETURNING
                (g.parents_open > 0)::int - (g.parents_open - v_group.open > 0)::int AS open,
                (g.parents_succeeded > 0)::int
                    - (g.parents_succeeded - v_group.succeeded > 0)::int AS succeeded,
                (g.parents_failed > 0)::int - (g.parents_failed - v_group.failed > 0)::int AS failed,
                (g.parents_skipped > 0)::int
                    - (g.parents_skipped - v_group.skipped > 0)::int AS skipped
            INTO v_flag;
            IF v_flag.open <> 0 OR v_flag.succeeded <> 0 OR v_flag.failed <> 0
                OR v_flag.skipped <> 0
            THEN
                v_parent.number := v_parent.number || v_group.number;
                v_parent.open := v_parent.open || v_flag.open;
                v_parent.succeeded := v_parent.succeeded || v_flag.succeeded;
                v_parent.failed := v_parent.failed || v_flag.failed;
                v_parent.skipped := v_parent.skipped || v_flag.skipped;
                v_parent.signals := v_parent.signals || 0;
            END IF;
        END LOOP;

        SELECT array_agg(child ORDER BY child) AS number, array_agg(open ORDER BY child) AS open,
               array_agg(succeeded ORDER BY child) AS succeeded,
               array_agg(failed ORDER BY child) AS failed,
               array_agg(skipped ORDER BY child) AS skipped,
               array_agg(signals ORDER BY child) AS signals
        INTO v_delta
        FROM (
            SELECT child, sum(open)::int AS open, sum(succeeded)::int AS succeeded,
                   sum(failed)::int AS failed, sum(skipped)::int AS skipped,
                   sum(signals)::int AS signals
            FROM (
                SELECT e.child, p.open, p.succeeded, p.failed, p.skipped, p.signals
                FROM unnest(v_parent.number, v_parent.open, v_parent.succeeded, v_parent.failed,
                            v_parent.skipped, v_parent.signals)
                    AS p (number, open, succeeded, failed, skipped, signals)
                CROSS JOIN LATERAL (
                    SELECT child FROM awa.workflow_edges
                    WHERE workflow_id = p_workflow AND parent = p.number
                      AND child < CASE WHEN v_passes = 1 AND p.number < p_fresh
                                       THEN p_fresh ELSE 2147483647 END
                    OFFSET 0
                ) AS e
                UNION ALL
                -- New tasks count what their older parents are now, not what has changed.
                SELECT e.child, p.open, p.succeeded, p.failed, p.skipped, p.signals
                FROM (
                    SELECT number, CASE type WHEN 'group' THEN parents_open > 0
                            ELSE type = 'task' AND state IN ('waiting', 'started') END::int AS open,
                        CASE type WHEN 'group' THEN parents_succeeded > 0
                            ELSE type = 'task' AND state = 'succeeded' END::int AS succeeded,
                        CASE type WHEN 'group' THEN parents_failed > 0
                            ELSE state IN ('failed', 'cancelled') END::int AS failed,
                        CASE type WHEN 'group' THEN parents_skipped > 0
                            ELSE state = 'skipped' END::int AS skipped,
                        (type = 'signal' AND state = 'waiting')::int AS signals
                    FROM awa.workflow_nodes
                    WHERE workflow_id = p_workflow AND number = ANY (p_parents) AND v_passes = 1
                    OFFSET 0
                ) AS p
                CROSS JOIN LATERAL (
                    SELECT child FROM awa.workflow_edges
                    WHERE workflow_id = p_workflow AND parent = p.number AND child >= p_fresh
                    OFFSET 0
                ) AS e
                UNION ALL
                SELECT number, 0, 0, 0, 0, 0 FROM unnest(v_decide) AS d (number)
                UNION ALL
                -- What has begun to wait.
                SELECT number, 0, 0, 0, 0, 0
                FROM unnest(v_changed.number, v_changed.signal, v_changed.new)
                    AS c (number, signal, new)
                WHERE new = 1 AND NOT signal
            ) AS each
            GROUP BY child
        ) AS children;
        v_decide := '{}';

        SELECT array_agg(new ORDER BY number) AS state,
               array_agg(number ORDER BY number) FILTER (WHERE new <> old) AS number,
               array_agg(group_number ORDER BY number) FILTER (WHERE new <> old) AS group_number,
               array_agg(false) FILTER (WHERE new <> old) AS signal,
               array_agg(old ORDER BY number) FILTER (WHERE new <> old) AS old,
               array_agg(new ORDER BY number) FILTER (WHERE new <> old) AS new,
               array_agg(number ORDER BY number) FILTER (WHERE new <> old AND new = 2) AS start,
               array_agg(number ORDER BY number) FILTER (WHERE is_later) AS later
        INTO v_next
        FROM (
            SELECT number, group_number, old, is_later, CASE WHEN is_later THEN 1 ELSE new END AS new
            FROM (
                SELECT number, group_number, old, new, p_fresh IS NULL AND starts AND row_number()
                    OVER (PARTITION BY starts ORDER BY number) > 2000 AS is_later
                FROM (
                    SELECT number, group_number, array_position(c_states, old) AS old,
                        array_position(c_states, CASE
                        WHEN old NOT IN ('waiting', 'skipped') THEN old
                        WHEN v_flow.cancelled_at IS NOT NULL AND rule <> 'always'
                            THEN CASE old WHEN 'waiting' THEN 'cancelled' ELSE old END
                        WHEN rule = 'all_succeeded' AND failed + skipped > 0
                            THEN CASE on_parent_failure WHEN 'wait' THEN 'waiting' ELSE 'skipped' END
                        WHEN rule = 'all_failed' AND succeeded + skipped > 0 THEN 'skipped'
                        WHEN rule IN ('any_failed', 'any_succeeded') AND open = 0
                            AND CASE rule WHEN 'any_failed' THEN failed ELSE succeeded END = 0
                            THEN 'skipped'
                        WHEN signals > 0 THEN 'waiting'
                        WHEN rule = 'any_failed' AND failed > 0 THEN 'started'
                        WHEN rule = 'any_succeeded' AND succeeded > 0 THEN 'started'
                        WHEN open > 0 THEN 'waiting'
                        ELSE 'started' END) AS new
                    FROM (
                        SELECT n.number, n.group_number, n.state AS old, n.rule, n.on_parent_failure,
                               n.parents_open + d.open AS open,
                               n.parents_succeeded + d.succeeded AS succeeded,
                               n.parents_failed + d.failed AS failed,
                               n.parents_skipped + d.skipped AS skipped,
                               n.signals_open + d.signals AS signals
                        FROM unnest(v_delta.number, v_delta.open, v_delta.succeeded, v_delta.failed,
                                    v_delta.skipped, v_delta.signals)
                            AS d (number, open, succeeded, failed, skipped, signals)
                        CROSS JOIN LATERAL (
                            SELECT * FROM awa.workflow_nodes
                            WHERE workflow_id = p_workflow AND number = d.number
                            LIMIT 1
                        ) AS n
                    ) AS counted
                ) AS decided
                CROSS JOIN LATERAL (SELECT new = 2 AND old <> 2 AS starts) AS s
            ) AS ranked
        ) AS chosen;
        v_later := v_later || v_next.later;

        UPDATE awa.workflow_nodes AS n
        SET (parents_open, parents_succeeded, parents_failed, parents_skipped, signals_open, state,
             ended_at) = (
            SELECT n.parents_open + v_delta.open[i.place],
                   n.parents_succeeded + v_delta.succeeded[i.place],
                   n.parents_failed + v_delta.failed[i.place],
                   n.parents_skipped + v_delta.skipped[i.place],
                   n.signals_open + v_delta.signals[i.place],
                   c_states[v_next.state[i.place]],
                   CASE WHEN n.state = c_states[v_next.state[i.place]] THEN n.ended_at
                        WHEN v_next.state[i.place] > 2 THEN now() END
            FROM (SELECT width_bucket(n.number, v_delta.number) AS place) AS i
        )
        WHERE n.workflow_id = p_workflow AND n.number = ANY (v_delta.number);

        IF v_next.start IS NOT NULL THEN
            PERFORM awa.assert_writable_canonical_storage();
            INSERT INTO awa.jobs_hot (
                id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags
            )
            SELECT job_id, kind, queue, args, 'available', priority, max_attempts, now(),
                   metadata || jsonb_build_object('_awa_workflow', p_workflow), tags
            FROM awa.workflow_nodes
            WHERE workflow_id = p_workflow AND number = ANY (v_next.start)
              AND coalesce(not_before <= now(), true) AND coalesce(wait_seconds <= 0, true)
            ORDER BY number;
            GET DIAGNOSTICS v_hot = ROW_COUNT;
            IF v_hot < cardinality(v_next.start) THEN
                INSERT INTO awa.scheduled_jobs (
                    id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags
                )
                SELECT job_id, kind, queue, args, 'scheduled', priority, max_attempts,
                       greatest(not_before, now() + make_interval(secs => wait_seconds)),
                       metadata || jsonb_build_object('_awa_workflow', p_workflow), tags
                FROM awa.workflow_nodes
                WHERE workflow_id = p_workflow AND number = ANY (v_next.start)
                  AND (not_before > now() OR wait_seconds > 0)
                ORDER BY number;
            END IF;
        END IF;
        v_changed := v_next;
    END LOOP;
    IF cardinality(v_later) > 0 THEN
        INSERT INTO awa.workflow_events (workflow_id, decide) VALUES (p_workflow, v_later);
    END IF;

    UPDATE awa.workflows AS w
    SET waiting = v_counts[1], started = v_counts[2], succeeded = v_counts[3],
        failed = v_counts[4], cancelled = v_counts[5], skipped = v_counts[6],
        state = CASE
            WHEN v_counts[1] + v_counts[2] > 0 THEN 'open'
            WHEN w.cancelled_at IS NOT NULL THEN 'cancelled'
            WHEN v_counts[4] + v_counts[5] > 0 THEN 'failed'
            ELSE 'succeeded' END,
        finished_at = CASE WHEN v_counts[1] + v_counts[2] = 0
                           THEN coalesce(w.finished_at, now()) END
    WHERE w.id = p_workflow;
    RETURN v_is_more OR cardinality(v_later) > 0;
END
$function$;

-- An insert writes counts and states itself: who may insert workflows may write these columns.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT c.relname AS name,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'name'
        CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
        WHERE c.oid IN ('awa.workflows'::regclass, 'awa.workflow_nodes'::regclass)
          AND acl.privilege_type = 'INSERT' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format(
            'GRANT INSERT (%s) ON awa.%I TO %s',
            CASE v_grant.name WHEN 'workflows' THEN 'waiting, started'
                ELSE 'state, parents_open, signals_open' END,
            v_grant.name, v_grant.role);
    END LOOP;
END
$block$;
