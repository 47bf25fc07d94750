-- summary: triggers only note which queues and kinds changed; the leader counts them
-- description: Dirty-key statement triggers for deadlock-free admin metadata
-- breaking: no
-- Locks: access exclusive on both job tables, while two indexes are built.

INSERT INTO awa.schema_version (version, description)
VALUES (6, 'Dirty-key statement triggers for deadlock-free admin metadata');

DROP TRIGGER IF EXISTS trg_jobs_hot_admin_metadata ON awa.jobs_hot;
DROP TRIGGER IF EXISTS trg_jobs_hot_admin_metadata_insert_stmt ON awa.jobs_hot;
DROP TRIGGER IF EXISTS trg_jobs_hot_admin_metadata_delete_stmt ON awa.jobs_hot;
DROP TRIGGER IF EXISTS trg_jobs_hot_admin_metadata_update_stmt ON awa.jobs_hot;
DROP TRIGGER IF EXISTS trg_scheduled_jobs_admin_metadata ON awa.scheduled_jobs;
DROP TRIGGER IF EXISTS trg_scheduled_jobs_admin_metadata_insert_stmt ON awa.scheduled_jobs;
DROP TRIGGER IF EXISTS trg_scheduled_jobs_admin_metadata_delete_stmt ON awa.scheduled_jobs;
DROP TRIGGER IF EXISTS trg_scheduled_jobs_admin_metadata_update_stmt ON awa.scheduled_jobs;

CREATE TABLE awa.admin_dirty_queues (
    queue      text PRIMARY KEY,
    touched_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE awa.admin_dirty_kinds (
    kind       text PRIMARY KEY,
    touched_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_awa_jobs_hot_queue_state ON awa.jobs_hot (queue, state);
CREATE INDEX idx_awa_scheduled_jobs_queue_state ON awa.scheduled_jobs (queue, state);

-- Names are sorted before they are inserted, so that two statements never wait in a circle.
CREATE FUNCTION awa.mark_dirty_keys_insert() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO awa.admin_dirty_queues (queue)
    SELECT DISTINCT queue FROM new_rows ORDER BY queue
    ON CONFLICT (queue) DO NOTHING;

    INSERT INTO awa.admin_dirty_kinds (kind)
    SELECT DISTINCT kind FROM new_rows ORDER BY kind
    ON CONFLICT (kind) DO NOTHING;
    RETURN NULL;
END
$function$;

CREATE FUNCTION awa.mark_dirty_keys_delete() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO awa.admin_dirty_queues (queue)
    SELECT DISTINCT queue FROM old_rows ORDER BY queue
    ON CONFLICT (queue) DO NOTHING;

    INSERT INTO awa.admin_dirty_kinds (kind)
    SELECT DISTINCT kind FROM old_rows ORDER BY kind
    ON CONFLICT (kind) DO NOTHING;
    RETURN NULL;
END
$function$;

-- A heartbeat or a progress write changes no count and marks nothing.
CREATE FUNCTION awa.mark_dirty_keys_update() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO awa.admin_dirty_queues (queue)
    SELECT DISTINCT side.queue
    FROM old_rows AS o
    JOIN new_rows AS n USING (id)
    CROSS JOIN LATERAL (VALUES (o.queue), (n.queue)) AS side (queue)
    WHERE o.queue <> n.queue OR o.state <> n.state
    ORDER BY side.queue
    ON CONFLICT (queue) DO NOTHING;

    INSERT INTO awa.admin_dirty_kinds (kind)
    SELECT DISTINCT side.kind
    FROM old_rows AS o
    JOIN new_rows AS n USING (id)
    CROSS JOIN LATERAL (VALUES (o.kind), (n.kind)) AS side (kind)
    WHERE o.kind <> n.kind
    ORDER BY side.kind
    ON CONFLICT (kind) DO NOTHING;
    RETURN NULL;
END
$function$;

CREATE TRIGGER trg_jobs_hot_dirty_keys_insert
    AFTER INSERT ON awa.jobs_hot
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.mark_dirty_keys_insert();

CREATE TRIGGER trg_jobs_hot_dirty_keys_delete
    AFTER DELETE ON awa.jobs_hot
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.mark_dirty_keys_delete();

CREATE TRIGGER trg_jobs_hot_dirty_keys_update
    AFTER UPDATE ON awa.jobs_hot
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.mark_dirty_keys_update();

CREATE TRIGGER trg_scheduled_jobs_dirty_keys_insert
    AFTER INSERT ON awa.scheduled_jobs
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.mark_dirty_keys_insert();

CREATE TRIGGER trg_scheduled_jobs_dirty_keys_delete
    AFTER DELETE ON awa.scheduled_jobs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.mark_dirty_keys_delete();

CREATE TRIGGER trg_scheduled_jobs_dirty_keys_update
    AFTER UPDATE ON awa.scheduled_jobs
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.mark_dirty_keys_update();

-- Recount up to p_batch_size dirty queues and as many dirty kinds, oldest mark first.
-- Returns how many keys it worked off.  One at a time in the database.
CREATE FUNCTION awa.recompute_dirty_admin_metadata(p_batch_size integer DEFAULT 100)
RETURNS integer
LANGUAGE plpgsql
AS $function$
DECLARE
    v_queues text[];
    v_kinds  text[];
BEGIN
    PERFORM pg_advisory_xact_lock(1098018130);

    WITH oldest AS (
        SELECT queue FROM awa.admin_dirty_queues
        ORDER BY touched_at, queue
        LIMIT p_batch_size
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM awa.admin_dirty_queues AS d
        USING oldest AS o
        WHERE d.queue = o.queue
        RETURNING d.queue
    )
    SELECT coalesce(array_agg(queue), '{}') INTO v_queues FROM taken;

    WITH oldest AS (
        SELECT kind FROM awa.admin_dirty_kinds
        ORDER BY touched_at, kind
        LIMIT p_batch_size
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM awa.admin_dirty_kinds AS d
        USING oldest AS o
        WHERE d.kind = o.kind
        RETURNING d.kind
    )
    SELECT coalesce(array_agg(kind), '{}') INTO v_kinds FROM taken;

    INSERT INTO awa.queue_state_counts (
        queue, scheduled, available, running, completed, retryable, failed, cancelled, waiting_external
    )
    SELECT queue,
           count(*) FILTER (WHERE state = 'scheduled'),
           count(*) FILTER (WHERE state = 'available'),
           count(*) FILTER (WHERE state = 'running'),
           count(*) FILTER (WHERE state = 'completed'),
           count(*) FILTER (WHERE state = 'retryable'),
           count(*) FILTER (WHERE state = 'failed'),
           count(*) FILTER (WHERE state = 'cancelled'),
           count(*) FILTER (WHERE state = 'waiting_external')
    FROM awa.jobs
    WHERE queue = ANY (v_queues)
    GROUP BY queue
    ORDER BY queue
    ON CONFLICT (queue) DO UPDATE SET
            scheduled = excluded.scheduled,
            available = excluded.available,
            running = excluded.running,
            completed = excluded.completed,
            retryable = excluded.retryable,
            failed = excluded.failed,
            cancelled = excluded.cancelled,
            waiting_external = excluded.waiting_external;

    INSERT INTO awa.job_queue_catalog (queue, ref_count)
    SELECT queue, count(*) FROM awa.jobs
    WHERE queue = ANY (v_queues)
    GROUP BY queue
    ORDER BY queue
    ON CONFLICT (queue) DO UPDATE SET ref_count = excluded.ref_count;

    INSERT INTO awa.job_kind_catalog (kind, ref_count)
    SELECT kind, count(*) FROM awa.jobs
    WHERE kind = ANY (v_kinds)
    GROUP BY kind
    ORDER BY kind
    ON CONFLICT (kind) DO UPDATE SET ref_count = excluded.ref_count;

    DELETE FROM awa.queue_state_counts AS c
    WHERE c.queue = ANY (v_queues)
      AND NOT EXISTS (SELECT FROM awa.jobs AS j WHERE j.queue = c.queue);
    DELETE FROM awa.job_queue_catalog AS c
    WHERE c.queue = ANY (v_queues)
      AND NOT EXISTS (SELECT FROM awa.jobs AS j WHERE j.queue = c.queue);
    DELETE FROM awa.job_kind_catalog AS c
    WHERE c.kind = ANY (v_kinds)
      AND NOT EXISTS (SELECT FROM awa.jobs AS j WHERE j.kind = c.kind);

    RETURN cardinality(v_queues) + cardinality(v_kinds);
END
$function$;

-- Recount every queue and kind and forget all marks.
CREATE FUNCTION awa.refresh_admin_metadata() RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM pg_advisory_xact_lock(1098018130);
    -- Writers wait on the dirty tables from here to the end, so no mark is lost.
    TRUNCATE awa.admin_dirty_queues, awa.admin_dirty_kinds;

    INSERT INTO awa.queue_state_counts (
        queue, scheduled, available, running, completed, retryable, failed, cancelled, waiting_external
    )
    SELECT queue,
           count(*) FILTER (WHERE state = 'scheduled'),
           count(*) FILTER (WHERE state = 'available'),
           count(*) FILTER (WHERE state = 'running'),
           count(*) FILTER (WHERE state = 'completed'),
           count(*) FILTER (WHERE state = 'retryable'),
           count(*) FILTER (WHERE state = 'failed'),
           count(*) FILTER (WHERE state = 'cancelled'),
           count(*) FILTER (WHERE state = 'waiting_external')
    FROM awa.jobs
    GROUP BY queue
    ORDER BY queue
    ON CONFLICT (queue) DO UPDATE SET
            scheduled = excluded.scheduled,
            available = excluded.available,
            running = excluded.running,
            completed = excluded.completed,
            retryable = excluded.retryable,
            failed = excluded.failed,
            cancelled = excluded.cancelled,
            waiting_external = excluded.waiting_external;

    INSERT INTO awa.job_queue_catalog (queue, ref_count)
    SELECT queue, count(*) FROM awa.jobs GROUP BY queue ORDER BY queue
    ON CONFLICT (queue) DO UPDATE SET ref_count = excluded.ref_count;

    INSERT INTO awa.job_kind_catalog (kind, ref_count)
    SELECT kind, count(*) FROM awa.jobs GROUP BY kind ORDER BY kind
    ON CONFLICT (kind) DO UPDATE SET ref_count = excluded.ref_count;

    DELETE FROM awa.queue_state_counts AS c
    WHERE NOT EXISTS (SELECT FROM awa.jobs AS j WHERE j.queue = c.queue);
    DELETE FROM awa.job_queue_catalog AS c
    WHERE NOT EXISTS (SELECT FROM awa.jobs AS j WHERE j.queue = c.queue);
    DELETE FROM awa.job_kind_catalog AS c
    WHERE NOT EXISTS (SELECT FROM awa.jobs AS j WHERE j.kind = c.kind);
END
$function$;

SELECT awa.refresh_admin_metadata();
