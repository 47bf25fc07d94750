-- summary: counts per queue and kind, kept by row triggers
-- description: Admin metadata cache tables
-- breaking: no
-- Locks: share row exclusive on both job tables, for their first count.

INSERT INTO awa.schema_version (version, description)
VALUES (4, 'Admin metadata cache tables');

CREATE TABLE awa.queue_state_counts (
    queue            text PRIMARY KEY,
    scheduled        bigint NOT NULL DEFAULT 0,
    available        bigint NOT NULL DEFAULT 0,
    running          bigint NOT NULL DEFAULT 0,
    completed        bigint NOT NULL DEFAULT 0,
    retryable        bigint NOT NULL DEFAULT 0,
    failed           bigint NOT NULL DEFAULT 0,
    cancelled        bigint NOT NULL DEFAULT 0,
    waiting_external bigint NOT NULL DEFAULT 0
);

CREATE TABLE awa.job_kind_catalog (
    kind      text PRIMARY KEY,
    ref_count bigint NOT NULL DEFAULT 0
);

CREATE TABLE awa.job_queue_catalog (
    queue     text PRIMARY KEY,
    ref_count bigint NOT NULL DEFAULT 0
);

CREATE INDEX idx_awa_jobs_hot_completed_finalized
    ON awa.jobs_hot (finalized_at DESC, queue)
    WHERE state = 'completed' AND finalized_at IS NOT NULL;

CREATE FUNCTION awa.apply_queue_state_delta(p_queue text, p_state awa.job_state, p_delta bigint)
RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    -- The state is an enum label and every label is a column name.
    EXECUTE format(
        'INSERT INTO awa.queue_state_counts AS c (queue, %1$I) VALUES ($1, greatest($2, 0))
         ON CONFLICT (queue) DO UPDATE SET %1$I = greatest(c.%1$I + $2, 0)',
        p_state
    ) USING p_queue, p_delta;
END
$function$;

CREATE FUNCTION awa.apply_job_kind_delta(p_kind text, p_delta bigint) RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO awa.job_kind_catalog AS c (kind, ref_count)
    VALUES (p_kind, greatest(p_delta, 0))
    ON CONFLICT (kind) DO UPDATE SET ref_count = greatest(c.ref_count + p_delta, 0);
END
$function$;

CREATE FUNCTION awa.apply_job_queue_delta(p_queue text, p_delta bigint) RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO awa.job_queue_catalog AS c (queue, ref_count)
    VALUES (p_queue, greatest(p_delta, 0))
    ON CONFLICT (queue) DO UPDATE SET ref_count = greatest(c.ref_count + p_delta, 0);
END
$function$;

CREATE FUNCTION awa.sync_job_admin_metadata() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM awa.apply_queue_state_delta(OLD.queue, OLD.state, -1);
        PERFORM awa.apply_job_queue_delta(OLD.queue, -1);
        PERFORM awa.apply_job_kind_delta(OLD.kind, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM awa.apply_queue_state_delta(NEW.queue, NEW.state, 1);
        PERFORM awa.apply_job_queue_delta(NEW.queue, 1);
        PERFORM awa.apply_job_kind_delta(NEW.kind, 1);
    END IF;
    RETURN NULL;
END
$function$;

-- Count everything anew.  Locks the three caches against each other's writers.
CREATE FUNCTION awa.rebuild_admin_metadata() RETURNS void
LANGUAGE plpgsql
AS $function$
BEGIN
    TRUNCATE awa.queue_state_counts, awa.job_kind_catalog, awa.job_queue_catalog;

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
    GROUP BY queue;

    INSERT INTO awa.job_kind_catalog (kind, ref_count)
    SELECT kind, count(*) FROM awa.jobs GROUP BY kind;

    INSERT INTO awa.job_queue_catalog (queue, ref_count)
    SELECT queue, count(*) FROM awa.jobs GROUP BY queue;
END
$function$;

CREATE TRIGGER trg_jobs_hot_admin_metadata
    AFTER INSERT OR DELETE OR UPDATE ON awa.jobs_hot
    FOR EACH ROW EXECUTE FUNCTION awa.sync_job_admin_metadata();

CREATE TRIGGER trg_scheduled_jobs_admin_metadata
    AFTER INSERT OR DELETE OR UPDATE ON awa.scheduled_jobs
    FOR EACH ROW EXECUTE FUNCTION awa.sync_job_admin_metadata();

SELECT awa.rebuild_admin_metadata();
