-- summary: the counts of version 4, kept by statement triggers
-- description: Statement-level admin metadata triggers
-- breaking: no
-- Locks: access exclusive on both job tables, for an instant.

INSERT INTO awa.schema_version (version, description)
VALUES (5, 'Statement-level admin metadata triggers');

DROP TRIGGER trg_jobs_hot_admin_metadata ON awa.jobs_hot;
DROP TRIGGER trg_scheduled_jobs_admin_metadata ON awa.scheduled_jobs;

CREATE FUNCTION awa.sync_job_admin_metadata_stmt_insert() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM awa.apply_queue_state_delta(d.queue, d.state, d.delta)
    FROM (
        SELECT queue, state, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, 1 AS n FROM new_rows
        ) AS changed
        GROUP BY queue, state
        HAVING sum(n) <> 0
        ORDER BY queue, state
    ) AS d;
    PERFORM awa.apply_job_queue_delta(d.queue, d.delta)
    FROM (
        SELECT queue, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, 1 AS n FROM new_rows
        ) AS changed
        GROUP BY queue
        HAVING sum(n) <> 0
        ORDER BY queue
    ) AS d;
    PERFORM awa.apply_job_kind_delta(d.kind, d.delta)
    FROM (
        SELECT kind, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, 1 AS n FROM new_rows
        ) AS changed
        GROUP BY kind
        HAVING sum(n) <> 0
        ORDER BY kind
    ) AS d;
    RETURN NULL;
END
$function$;

CREATE FUNCTION awa.sync_job_admin_metadata_stmt_delete() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM awa.apply_queue_state_delta(d.queue, d.state, d.delta)
    FROM (
        SELECT queue, state, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, -1 AS n FROM old_rows
        ) AS changed
        GROUP BY queue, state
        HAVING sum(n) <> 0
        ORDER BY queue, state
    ) AS d;
    PERFORM awa.apply_job_queue_delta(d.queue, d.delta)
    FROM (
        SELECT queue, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, -1 AS n FROM old_rows
        ) AS changed
        GROUP BY queue
        HAVING sum(n) <> 0
        ORDER BY queue
    ) AS d;
    PERFORM awa.apply_job_kind_delta(d.kind, d.delta)
    FROM (
        SELECT kind, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, -1 AS n FROM old_rows
        ) AS changed
        GROUP BY kind
        HAVING sum(n) <> 0
        ORDER BY kind
    ) AS d;
    RETURN NULL;
END
$function$;

CREATE FUNCTION awa.sync_job_admin_metadata_stmt_update() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM awa.apply_queue_state_delta(d.queue, d.state, d.delta)
    FROM (
        SELECT queue, state, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, -1 AS n FROM old_rows
            UNION ALL
            SELECT queue, kind, state, 1 FROM new_rows
        ) AS changed
        GROUP BY queue, state
        HAVING sum(n) <> 0
        ORDER BY queue, state
    ) AS d;
    PERFORM awa.apply_job_queue_delta(d.queue, d.delta)
    FROM (
        SELECT queue, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, -1 AS n FROM old_rows
            UNION ALL
            SELECT queue, kind, state, 1 FROM new_rows
        ) AS changed
        GROUP BY queue
        HAVING sum(n) <> 0
        ORDER BY queue
    ) AS d;
    PERFORM awa.apply_job_kind_delta(d.kind, d.delta)
    FROM (
        SELECT kind, sum(n) AS delta
        FROM (
            SELECT queue, kind, state, -1 AS n FROM old_rows
            UNION ALL
            SELECT queue, kind, state, 1 FROM new_rows
        ) AS changed
        GROUP BY kind
        HAVING sum(n) <> 0
        ORDER BY kind
    ) AS d;
    RETURN NULL;
END
$function$;

CREATE TRIGGER trg_jobs_hot_admin_metadata_insert_stmt
    AFTER INSERT ON awa.jobs_hot
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.sync_job_admin_metadata_stmt_insert();

CREATE TRIGGER trg_jobs_hot_admin_metadata_delete_stmt
    AFTER DELETE ON awa.jobs_hot
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.sync_job_admin_metadata_stmt_delete();

CREATE TRIGGER trg_jobs_hot_admin_metadata_update_stmt
    AFTER UPDATE ON awa.jobs_hot
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.sync_job_admin_metadata_stmt_update();

CREATE TRIGGER trg_scheduled_jobs_admin_metadata_insert_stmt
    AFTER INSERT ON awa.scheduled_jobs
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.sync_job_admin_metadata_stmt_insert();

CREATE TRIGGER trg_scheduled_jobs_admin_metadata_delete_stmt
    AFTER DELETE ON awa.scheduled_jobs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.sync_job_admin_metadata_stmt_delete();

CREATE TRIGGER trg_scheduled_jobs_admin_metadata_update_stmt
    AFTER UPDATE ON awa.scheduled_jobs
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.sync_job_admin_metadata_stmt_update();
