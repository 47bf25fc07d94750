-- summary: job tables, the view over them, cron table, claims, triggers
-- description: Canonical schema with UI indexes
-- breaking: no
-- Locks: none, everything is new.

CREATE SCHEMA IF NOT EXISTS awa;

CREATE TABLE IF NOT EXISTS awa.schema_version (
    version     integer PRIMARY KEY,
    description text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

INSERT INTO awa.schema_version (version, description)
VALUES (1, 'Canonical schema with UI indexes');

CREATE TYPE awa.job_state AS ENUM (
    'scheduled', 'available', 'running', 'completed',
    'retryable', 'failed', 'cancelled', 'waiting_external'
);

-- One sequence for both tables: a job keeps its id when it moves between them.
CREATE SEQUENCE awa.jobs_id_seq AS bigint;

-- Jobs that can run, run, or have ended.
CREATE TABLE awa.jobs_hot (
    id                   bigint NOT NULL DEFAULT nextval('awa.jobs_id_seq'),
    kind                 text NOT NULL,
    queue                text NOT NULL DEFAULT 'default',
    args                 jsonb NOT NULL DEFAULT '{}',
    state                awa.job_state NOT NULL DEFAULT 'available',
    priority             smallint NOT NULL DEFAULT 2,
    attempt              smallint NOT NULL DEFAULT 0,
    max_attempts         smallint NOT NULL DEFAULT 25,
    run_at               timestamptz NOT NULL DEFAULT now(),
    heartbeat_at         timestamptz,
    deadline_at          timestamptz,
    attempted_at         timestamptz,
    finalized_at         timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now(),
    errors               jsonb[] DEFAULT '{}',
    metadata             jsonb NOT NULL DEFAULT '{}',
    tags                 text[] NOT NULL DEFAULT '{}',
    unique_key           bytea,
    unique_states        bit(8),
    callback_id          uuid,
    callback_timeout_at  timestamptz,
    callback_filter      text,
    callback_on_complete text,
    callback_on_fail     text,
    callback_transform   text,
    run_lease            bigint NOT NULL DEFAULT 0,
    progress             jsonb,
    CONSTRAINT jobs_hot_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_hot_state_check CHECK (state NOT IN ('scheduled', 'retryable')),
    CONSTRAINT jobs_hot_priority_in_range CHECK (priority >= 1 AND priority <= 4),
    CONSTRAINT jobs_hot_max_attempts_range CHECK (max_attempts >= 1 AND max_attempts <= 1000),
    CONSTRAINT jobs_hot_queue_name_length CHECK (length(queue) <= 200),
    CONSTRAINT jobs_hot_kind_length CHECK (length(kind) <= 200),
    CONSTRAINT jobs_hot_tags_count CHECK (cardinality(tags) <= 20)
);

-- Jobs that wait for their time: scheduled, or retryable after a failed attempt.
CREATE TABLE awa.scheduled_jobs (
    id                   bigint NOT NULL DEFAULT nextval('awa.jobs_id_seq'),
    kind                 text NOT NULL,
    queue                text NOT NULL DEFAULT 'default',
    args                 jsonb NOT NULL DEFAULT '{}',
    state                awa.job_state NOT NULL DEFAULT 'scheduled',
    priority             smallint NOT NULL DEFAULT 2,
    attempt              smallint NOT NULL DEFAULT 0,
    max_attempts         smallint NOT NULL DEFAULT 25,
    run_at               timestamptz NOT NULL DEFAULT now(),
    heartbeat_at         timestamptz,
    deadline_at          timestamptz,
    attempted_at         timestamptz,
    finalized_at         timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now(),
    errors               jsonb[] DEFAULT '{}',
    metadata             jsonb NOT NULL DEFAULT '{}',
    tags                 text[] NOT NULL DEFAULT '{}',
    unique_key           bytea,
    unique_states        bit(8),
    callback_id          uuid,
    callback_timeout_at  timestamptz,
    callback_filter      text,
    callback_on_complete text,
    callback_on_fail     text,
    callback_transform   text,
    run_lease            bigint NOT NULL DEFAULT 0,
    progress             jsonb,
    CONSTRAINT scheduled_jobs_pkey PRIMARY KEY (id),
    CONSTRAINT scheduled_jobs_state_check CHECK (state IN ('scheduled', 'retryable')),
    CONSTRAINT scheduled_jobs_priority_in_range CHECK (priority >= 1 AND priority <= 4),
    CONSTRAINT scheduled_jobs_max_attempts_range CHECK (max_attempts >= 1 AND max_attempts <= 1000),
    CONSTRAINT scheduled_jobs_queue_name_length CHECK (length(queue) <= 200),
    CONSTRAINT scheduled_jobs_kind_length CHECK (length(kind) <= 200),
    CONSTRAINT scheduled_jobs_tags_count CHECK (cardinality(tags) <= 20)
);

CREATE TABLE awa.queue_meta (
    queue     text PRIMARY KEY,
    paused    boolean NOT NULL DEFAULT false,
    paused_at timestamptz,
    paused_by text
);

-- One row per unique key that a live job holds.
CREATE TABLE awa.job_unique_claims (
    unique_key bytea NOT NULL,
    job_id     bigint NOT NULL
);

CREATE UNIQUE INDEX idx_awa_jobs_unique ON awa.job_unique_claims (unique_key);

CREATE TABLE awa.cron_jobs (
    name             text PRIMARY KEY,
    cron_expr        text NOT NULL,
    timezone         text NOT NULL DEFAULT 'UTC',
    kind             text NOT NULL,
    queue            text NOT NULL DEFAULT 'default',
    args             jsonb NOT NULL DEFAULT '{}',
    priority         smallint NOT NULL DEFAULT 2,
    max_attempts     smallint NOT NULL DEFAULT 25,
    tags             text[] NOT NULL DEFAULT '{}',
    metadata         jsonb NOT NULL DEFAULT '{}',
    last_enqueued_at timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_awa_jobs_hot_dequeue
    ON awa.jobs_hot (queue, priority, run_at, id) WHERE state = 'available';
CREATE INDEX idx_awa_jobs_hot_heartbeat
    ON awa.jobs_hot (heartbeat_at) WHERE state = 'running';
CREATE INDEX idx_awa_jobs_hot_deadline
    ON awa.jobs_hot (deadline_at) WHERE state = 'running' AND deadline_at IS NOT NULL;
CREATE INDEX idx_awa_jobs_hot_kind_state ON awa.jobs_hot (kind, state);
CREATE UNIQUE INDEX idx_awa_jobs_hot_callback_id
    ON awa.jobs_hot (callback_id) WHERE callback_id IS NOT NULL;
CREATE INDEX idx_awa_jobs_hot_callback_timeout
    ON awa.jobs_hot (callback_timeout_at)
    WHERE state = 'waiting_external' AND callback_timeout_at IS NOT NULL;
CREATE INDEX idx_awa_jobs_hot_created_at
    ON awa.jobs_hot USING brin (created_at) WITH (pages_per_range = 32);
CREATE INDEX idx_awa_jobs_hot_tags
    ON awa.jobs_hot USING gin (tags) WHERE tags IS NOT NULL AND tags <> '{}';

CREATE INDEX idx_awa_scheduled_jobs_run_at_scheduled
    ON awa.scheduled_jobs (run_at, id, queue) WHERE state = 'scheduled';
CREATE INDEX idx_awa_scheduled_jobs_run_at_retryable
    ON awa.scheduled_jobs (run_at, id, queue) WHERE state = 'retryable';
CREATE INDEX idx_awa_scheduled_jobs_kind_state ON awa.scheduled_jobs (kind, state);
CREATE INDEX idx_awa_scheduled_jobs_created_at
    ON awa.scheduled_jobs USING brin (created_at) WITH (pages_per_range = 32);
CREATE INDEX idx_awa_scheduled_jobs_tags
    ON awa.scheduled_jobs USING gin (tags) WHERE tags IS NOT NULL AND tags <> '{}';

CREATE VIEW awa.jobs AS
SELECT id, kind, queue, args, state, priority, attempt, max_attempts, run_at, heartbeat_at,
       deadline_at, attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
       unique_states, callback_id, callback_timeout_at, callback_filter, callback_on_complete,
       callback_on_fail, callback_transform, run_lease, progress
FROM awa.jobs_hot
UNION ALL
SELECT id, kind, queue, args, state, priority, attempt, max_attempts, run_at, heartbeat_at,
       deadline_at, attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
       unique_states, callback_id, callback_timeout_at, callback_filter, callback_on_complete,
       callback_on_fail, callback_transform, run_lease, progress
FROM awa.scheduled_jobs;

-- True when the mask has the bit of the state.  get_bit counts from the left.
CREATE FUNCTION awa.job_state_in_bitmask(bitmask bit(8), state awa.job_state)
RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $function$
    SELECT CASE state
        WHEN 'scheduled' THEN get_bit(bitmask, 0) = 1
        WHEN 'available' THEN get_bit(bitmask, 1) = 1
        WHEN 'running' THEN get_bit(bitmask, 2) = 1
        WHEN 'completed' THEN get_bit(bitmask, 3) = 1
        WHEN 'retryable' THEN get_bit(bitmask, 4) = 1
        WHEN 'failed' THEN get_bit(bitmask, 5) = 1
        WHEN 'cancelled' THEN get_bit(bitmask, 6) = 1
        WHEN 'waiting_external' THEN get_bit(bitmask, 7) = 1
        ELSE false
    END
$function$;

-- 2^attempt seconds and up to a quarter more, at most a day.
CREATE FUNCTION awa.backoff_duration(attempt smallint, max_attempts smallint)
RETURNS interval
LANGUAGE sql VOLATILE
AS $function$
    SELECT interval '1 second'
         * least(power(2, least(attempt, 17)) * (1 + 0.25 * random()), 86400)
$function$;

CREATE FUNCTION awa.notify_new_job() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM pg_notify('awa:' || NEW.queue, '');
    RETURN NULL;
END
$function$;

-- Keep one claim per unique key: taken while the job is in a state of its mask.
CREATE FUNCTION awa.sync_job_unique_claims() RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    held   boolean := false;
    wanted boolean := false;
    same   boolean := false;
    holder bigint;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        held := OLD.unique_key IS NOT NULL AND OLD.unique_states IS NOT NULL
            AND awa.job_state_in_bitmask(OLD.unique_states, OLD.state);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        wanted := NEW.unique_key IS NOT NULL AND NEW.unique_states IS NOT NULL
            AND awa.job_state_in_bitmask(NEW.unique_states, NEW.state);
    END IF;
    IF held AND wanted THEN
        same := OLD.unique_key = NEW.unique_key AND OLD.id = NEW.id;
    END IF;

    IF held AND NOT same THEN
        DELETE FROM awa.job_unique_claims
        WHERE unique_key = OLD.unique_key AND job_id = OLD.id;
    END IF;
    IF wanted AND NOT same THEN
        BEGIN
            INSERT INTO awa.job_unique_claims (unique_key, job_id)
            VALUES (NEW.unique_key, NEW.id);
        EXCEPTION WHEN unique_violation THEN
            -- A move between the tables may insert before it deletes: the same job keeps its claim.
            SELECT job_id INTO holder
            FROM awa.job_unique_claims
            WHERE unique_key = NEW.unique_key;
            IF holder IS DISTINCT FROM NEW.id THEN
                RAISE unique_violation USING
                    CONSTRAINT = 'idx_awa_jobs_unique',
                    MESSAGE =
                        'duplicate key value violates unique constraint "idx_awa_jobs_unique"';
            END IF;
        END;
    END IF;
    RETURN NULL;
END
$function$;

-- Writes through the view: a row lives in the table of its state and moves when that changes.
-- An update matches only the version of the row it read (state, lease and callback); otherwise
-- it touches nothing and reports no row.
CREATE FUNCTION awa.write_jobs_view() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.id := coalesce(NEW.id, nextval('awa.jobs_id_seq'));
        NEW.queue := coalesce(NEW.queue, 'default');
        NEW.args := coalesce(NEW.args, '{}');
        NEW.state := coalesce(NEW.state, 'available');
        NEW.priority := coalesce(NEW.priority, 2);
        NEW.attempt := coalesce(NEW.attempt, 0);
        NEW.max_attempts := coalesce(NEW.max_attempts, 25);
        NEW.run_at := coalesce(NEW.run_at, now());
        NEW.created_at := coalesce(NEW.created_at, now());
        NEW.errors := coalesce(NEW.errors, '{}');
        NEW.metadata := coalesce(NEW.metadata, '{}');
        NEW.tags := coalesce(NEW.tags, '{}');
        NEW.run_lease := coalesce(NEW.run_lease, 0);
    ELSIF TG_OP = 'DELETE' THEN
        IF OLD.state IN ('scheduled', 'retryable') THEN
            DELETE FROM awa.scheduled_jobs WHERE id = OLD.id;
        ELSE
            DELETE FROM awa.jobs_hot WHERE id = OLD.id;
        END IF;
        RETURN CASE WHEN FOUND THEN OLD END;
    ELSE
        IF OLD.state IN ('scheduled', 'retryable') THEN
            DELETE FROM awa.scheduled_jobs
            WHERE id = OLD.id AND state = OLD.state AND run_lease = OLD.run_lease
              AND callback_id IS NOT DISTINCT FROM OLD.callback_id;
        ELSE
            DELETE FROM awa.jobs_hot
            WHERE id = OLD.id AND state = OLD.state AND run_lease = OLD.run_lease
              AND callback_id IS NOT DISTINCT FROM OLD.callback_id;
        END IF;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;

    IF NEW.state IN ('scheduled', 'retryable') THEN
        INSERT INTO awa.scheduled_jobs (
            id, kind, queue, args, state, priority, attempt, max_attempts, run_at, heartbeat_at,
            deadline_at, attempted_at, finalized_at, created_at, errors, metadata, tags,
            unique_key, unique_states, callback_id, callback_timeout_at, callback_filter,
            callback_on_complete, callback_on_fail, callback_transform, run_lease, progress
        ) VALUES (
            NEW.id, NEW.kind, NEW.queue, NEW.args, NEW.state, NEW.priority, NEW.attempt,
            NEW.max_attempts, NEW.run_at, NEW.heartbeat_at, NEW.deadline_at, NEW.attempted_at,
            NEW.finalized_at, NEW.created_at, NEW.errors, NEW.metadata, NEW.tags,
            NEW.unique_key, NEW.unique_states, NEW.callback_id, NEW.callback_timeout_at,
            NEW.callback_filter, NEW.callback_on_complete, NEW.callback_on_fail,
            NEW.callback_transform, NEW.run_lease, NEW.progress
        );
    ELSE
        INSERT INTO awa.jobs_hot (
            id, kind, queue, args, state, priority, attempt, max_attempts, run_at, heartbeat_at,
            deadline_at, attempted_at, finalized_at, created_at, errors, metadata, tags,
            unique_key, unique_states, callback_id, callback_timeout_at, callback_filter,
            callback_on_complete, callback_on_fail, callback_transform, run_lease, progress
        ) VALUES (
            NEW.id, NEW.kind, NEW.queue, NEW.args, NEW.state, NEW.priority, NEW.attempt,
            NEW.max_attempts, NEW.run_at, NEW.heartbeat_at, NEW.deadline_at, NEW.attempted_at,
            NEW.finalized_at, NEW.created_at, NEW.errors, NEW.metadata, NEW.tags,
            NEW.unique_key, NEW.unique_states, NEW.callback_id, NEW.callback_timeout_at,
            NEW.callback_filter, NEW.callback_on_complete, NEW.callback_on_fail,
            NEW.callback_transform, NEW.run_lease, NEW.progress
        );
    END IF;
    RETURN NEW;
END
$function$;

CREATE TRIGGER trg_awa_jobs_view_insert
    INSTEAD OF INSERT ON awa.jobs
    FOR EACH ROW EXECUTE FUNCTION awa.write_jobs_view();

CREATE TRIGGER trg_awa_jobs_view_update
    INSTEAD OF UPDATE ON awa.jobs
    FOR EACH ROW EXECUTE FUNCTION awa.write_jobs_view();

CREATE TRIGGER trg_awa_jobs_view_delete
    INSTEAD OF DELETE ON awa.jobs
    FOR EACH ROW EXECUTE FUNCTION awa.write_jobs_view();

CREATE TRIGGER trg_awa_notify
    AFTER INSERT ON awa.jobs_hot
    FOR EACH ROW WHEN (NEW.state = 'available' AND NEW.run_at <= now())
    EXECUTE FUNCTION awa.notify_new_job();

CREATE TRIGGER trg_jobs_hot_unique_claims_insert
    AFTER INSERT ON awa.jobs_hot
    FOR EACH ROW WHEN (NEW.unique_key IS NOT NULL AND NEW.unique_states IS NOT NULL)
    EXECUTE FUNCTION awa.sync_job_unique_claims();

CREATE TRIGGER trg_jobs_hot_unique_claims_delete
    AFTER DELETE ON awa.jobs_hot
    FOR EACH ROW WHEN (OLD.unique_key IS NOT NULL AND OLD.unique_states IS NOT NULL)
    EXECUTE FUNCTION awa.sync_job_unique_claims();

CREATE TRIGGER trg_jobs_hot_unique_claims_update
    AFTER UPDATE ON awa.jobs_hot
    FOR EACH ROW WHEN (
        (OLD.unique_key IS NOT NULL AND OLD.unique_states IS NOT NULL)
        OR (NEW.unique_key IS NOT NULL AND NEW.unique_states IS NOT NULL)
    )
    EXECUTE FUNCTION awa.sync_job_unique_claims();

CREATE TRIGGER trg_scheduled_jobs_unique_claims_insert
    AFTER INSERT ON awa.scheduled_jobs
    FOR EACH ROW WHEN (NEW.unique_key IS NOT NULL AND NEW.unique_states IS NOT NULL)
    EXECUTE FUNCTION awa.sync_job_unique_claims();

CREATE TRIGGER trg_scheduled_jobs_unique_claims_delete
    AFTER DELETE ON awa.scheduled_jobs
    FOR EACH ROW WHEN (OLD.unique_key IS NOT NULL AND OLD.unique_states IS NOT NULL)
    EXECUTE FUNCTION awa.sync_job_unique_claims();

CREATE TRIGGER trg_scheduled_jobs_unique_claims_update
    AFTER UPDATE ON awa.scheduled_jobs
    FOR EACH ROW WHEN (
        (OLD.unique_key IS NOT NULL AND OLD.unique_states IS NOT NULL)
        OR (NEW.unique_key IS NOT NULL AND NEW.unique_states IS NOT NULL)
    )
    EXECUTE FUNCTION awa.sync_job_unique_claims();
