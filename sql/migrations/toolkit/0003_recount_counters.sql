-- summary: cached counts come from a recount now and then; claims and completions pay nothing
-- breaking: no
-- Locks: access exclusive on both job tables, for an instant.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (3, 'recount_counters');

LOCK TABLE awa.jobs_hot, awa.scheduled_jobs IN ACCESS EXCLUSIVE MODE;

DROP TRIGGER IF EXISTS trg_jobs_hot_dirty_keys_insert ON awa.jobs_hot;
DROP TRIGGER IF EXISTS trg_jobs_hot_dirty_keys_delete ON awa.jobs_hot;
DROP TRIGGER IF EXISTS trg_jobs_hot_dirty_keys_update ON awa.jobs_hot;
DROP TRIGGER IF EXISTS trg_scheduled_jobs_dirty_keys_insert ON awa.scheduled_jobs;
DROP TRIGGER IF EXISTS trg_scheduled_jobs_dirty_keys_delete ON awa.scheduled_jobs;
DROP TRIGGER IF EXISTS trg_scheduled_jobs_dirty_keys_update ON awa.scheduled_jobs;

-- How fresh the cached counts are: they are true of recounted_at, NULL before the first recount.
CREATE TABLE IF NOT EXISTS awa.toolkit_counts (
    singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    recounted_at timestamptz,
    cost_ms      double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0);

INSERT INTO awa.toolkit_counts (singleton)
VALUES (true)
ON CONFLICT (singleton) DO NOTHING;

-- Count both tables in one pass and write only the rows that changed.
-- The caller holds advisory lock 1098018130.
CREATE OR REPLACE FUNCTION awa.toolkit_recount() RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    v_started timestamptz := clock_timestamp();
BEGIN
    WITH counted AS MATERIALIZED (
        SELECT queue, kind, state, count(*) AS n
        FROM (
            SELECT queue, kind, state FROM awa.jobs_hot
            UNION ALL
            SELECT queue, kind, state FROM awa.scheduled_jobs
        ) AS job
        GROUP BY queue, kind, state
    ), queue_counts AS (
        SELECT queue,
               coalesce(sum(n) FILTER (WHERE state = 'scheduled'), 0)::bigint AS scheduled,
               coalesce(sum(n) FILTER (WHERE state = 'available'), 0)::bigint AS available,
               coalesce(sum(n) FILTER (WHERE state = 'running'), 0)::bigint AS running,
               coalesce(sum(n) FILTER (WHERE state = 'completed'), 0)::bigint AS completed,
               coalesce(sum(n) FILTER (WHERE state = 'retryable'), 0)::bigint AS retryable,
               coalesce(sum(n) FILTER (WHERE state = 'failed'), 0)::bigint AS failed,
               coalesce(sum(n) FILTER (WHERE state = 'cancelled'), 0)::bigint AS cancelled,
               coalesce(sum(n) FILTER (WHERE state = 'waiting_external'), 0)::bigint AS waiting_external
        FROM counted
        GROUP BY queue
    ), write_counts AS (
        INSERT INTO awa.queue_state_counts (
            queue, scheduled, available, running, completed, retryable, failed,
            cancelled, waiting_external
        )
        SELECT * FROM queue_counts
        EXCEPT
        SELECT queue, scheduled, available, running, completed, retryable, failed,
               cancelled, waiting_external
        FROM awa.queue_state_counts
        ON CONFLICT (queue) DO UPDATE SET
            scheduled = excluded.scheduled,
            available = excluded.available,
            running = excluded.running,
            completed = excluded.completed,
            retryable = excluded.retryable,
            failed = excluded.failed,
            cancelled = excluded.cancelled,
            waiting_external = excluded.waiting_external
    ), write_kinds AS (
        INSERT INTO awa.job_kind_catalog (kind, ref_count)
        SELECT kind, sum(n)::bigint FROM counted GROUP BY kind
        EXCEPT
        SELECT kind, ref_count FROM awa.job_kind_catalog
        ON CONFLICT (kind) DO UPDATE SET ref_count = excluded.ref_count
    ), write_queues AS (
        INSERT INTO awa.job_queue_catalog (queue, ref_count)
        SELECT queue, sum(n)::bigint FROM counted GROUP BY queue
        EXCEPT
        SELECT queue, ref_count FROM awa.job_queue_catalog
        ON CONFLICT (queue) DO UPDATE SET ref_count = excluded.ref_count
    ), drop_counts AS (
        DELETE FROM awa.queue_state_counts AS c
        WHERE NOT EXISTS (SELECT FROM counted AS k WHERE k.queue = c.queue)
    ), drop_kinds AS (
        DELETE FROM awa.job_kind_catalog AS c
        WHERE NOT EXISTS (SELECT FROM counted AS k WHERE k.kind = c.kind)
    )
    DELETE FROM awa.job_queue_catalog AS c
    WHERE NOT EXISTS (SELECT FROM counted AS k WHERE k.queue = c.queue);

    UPDATE awa.toolkit_counts
    SET recounted_at = v_started,
        cost_ms = extract(epoch FROM clock_timestamp() - v_started) * 1000
    WHERE singleton;
END
$function$;

-- A recount below 20 ms always runs, so on small tables the counts are exact after a call.  A
-- dearer one runs when twenty times its cost has passed: at most a twentieth of the time.
CREATE OR REPLACE FUNCTION awa.toolkit_recount_if_due() RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM pg_advisory_xact_lock(1098018130);
    PERFORM FROM awa.toolkit_counts
    WHERE singleton
      AND cost_ms >= 20
      AND clock_timestamp() < recounted_at + make_interval(secs => cost_ms * 20 / 1000);
    IF NOT FOUND THEN
        PERFORM awa.toolkit_recount();
    END IF;
END
$function$;

-- The three doors of awa 0.5.  Its leader calls the first every two seconds, and its clients
-- call it until it returns 0: that there are no dirty keys any more.
CREATE OR REPLACE FUNCTION awa.recompute_dirty_admin_metadata(p_batch_size integer DEFAULT 100)
RETURNS integer
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM awa.toolkit_recount_if_due();
    RETURN 0;
END
$function$;

CREATE OR REPLACE FUNCTION awa.refresh_admin_metadata() RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM awa.toolkit_recount_if_due();
END
$function$;

-- By hand: recount now, whatever it costs.
CREATE OR REPLACE FUNCTION awa.rebuild_admin_metadata() RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM pg_advisory_xact_lock(1098018130);
    PERFORM awa.toolkit_recount();
END
$function$;

DELETE FROM awa.admin_dirty_queues;
DELETE FROM awa.admin_dirty_kinds;

-- Roles that may write the cached counts or read the versions may do so with the new tables:
-- these functions run with the rights of their caller.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT pair.new_table, acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM (
            VALUES ('awa.queue_state_counts'::regclass, 'awa.toolkit_counts'::regclass),
                   ('awa.schema_version', 'awa.toolkit_migrations')
        ) AS pair (old_table, new_table)
        JOIN pg_catalog.pg_class AS c ON c.oid = pair.old_table
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE acl.grantee <> c.relowner
    LOOP
        EXECUTE format(
            'GRANT %s ON %s TO %s', v_grant.privilege_type, v_grant.new_table, v_grant.role
        );
    END LOOP;
END
$block$;
