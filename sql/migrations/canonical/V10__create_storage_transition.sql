-- summary: which storage engine takes the writes, and the door for inserts
-- description: Storage transition metadata and canonical compat routing
-- breaking: no
-- Locks: access exclusive on awa.runtime_instances, for an instant.

INSERT INTO awa.schema_version (version, description)
VALUES (10, 'Storage transition metadata and canonical compat routing');

CREATE TABLE awa.storage_transition_state (
    singleton        boolean PRIMARY KEY DEFAULT true,
    current_engine   text NOT NULL,
    prepared_engine  text,
    state            text NOT NULL,
    transition_epoch bigint NOT NULL DEFAULT 0,
    details          jsonb NOT NULL DEFAULT '{}',
    entered_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    finalized_at     timestamptz,
    CONSTRAINT storage_transition_state_singleton_check CHECK (singleton),
    CONSTRAINT storage_transition_state_current_engine_check CHECK (btrim(current_engine) <> ''),
    CONSTRAINT storage_transition_state_state_check
        CHECK (state IN ('canonical', 'prepared', 'mixed_transition', 'active')),
    CONSTRAINT storage_transition_state_check
        CHECK (state NOT IN ('prepared', 'mixed_transition') OR prepared_engine IS NOT NULL)
);

INSERT INTO awa.storage_transition_state (singleton, current_engine, state)
VALUES (true, 'canonical', 'canonical');

ALTER TABLE awa.runtime_instances
    ADD COLUMN storage_capability text NOT NULL DEFAULT 'canonical',
    ADD CONSTRAINT chk_awa_runtime_instances_storage_capability
        CHECK (storage_capability IN ('canonical', 'canonical_drain_only', 'queue_storage'));

-- NULL when the singleton row is missing; version 11 mends that.
CREATE FUNCTION awa.active_storage_engine() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, awa
AS $function$
    SELECT CASE
        WHEN s.state IN ('mixed_transition', 'active')
            THEN coalesce(s.prepared_engine, s.current_engine)
        ELSE s.current_engine
    END
    FROM awa.storage_transition_state AS s
    WHERE s.singleton
$function$;

CREATE FUNCTION awa.assert_writable_canonical_storage() RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, awa
AS $function$
DECLARE
    v_engine text := awa.active_storage_engine();
BEGIN
    IF v_engine IS DISTINCT FROM 'canonical' THEN
        RAISE EXCEPTION 'storage engine "%" is not writable in this release', v_engine
            USING ERRCODE = '55000';
    END IF;
    RETURN true;
END
$function$;

CREATE FUNCTION awa.storage_status()
RETURNS TABLE (
    current_engine   text,
    active_engine    text,
    prepared_engine  text,
    state            text,
    transition_epoch bigint,
    details          jsonb,
    entered_at       timestamptz,
    updated_at       timestamptz,
    finalized_at     timestamptz
)
LANGUAGE sql STABLE
SET search_path = pg_catalog, awa
AS $function$
    SELECT s.current_engine, awa.active_storage_engine(), s.prepared_engine, s.state,
           s.transition_epoch, s.details, s.entered_at, s.updated_at, s.finalized_at
    FROM awa.storage_transition_state AS s
    WHERE s.singleton
$function$;

-- Announce the engine to come.  Saying the same thing twice changes nothing but updated_at.
CREATE FUNCTION awa.storage_prepare(p_engine text, p_details jsonb DEFAULT '{}')
RETURNS TABLE (
    current_engine   text,
    active_engine    text,
    prepared_engine  text,
    state            text,
    transition_epoch bigint,
    details          jsonb,
    entered_at       timestamptz,
    updated_at       timestamptz,
    finalized_at     timestamptz
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, awa
AS $function$
DECLARE
    v_engine  text := btrim(p_engine);
    v_details jsonb := coalesce(p_details, '{}');
    v_row     awa.storage_transition_state;
    v_same    boolean;
BEGIN
    IF coalesce(v_engine, '') = '' THEN
        RAISE EXCEPTION 'storage engine must not be blank' USING ERRCODE = '22023';
    END IF;
    SELECT * INTO v_row FROM awa.storage_transition_state AS s WHERE s.singleton FOR UPDATE;
    IF v_engine = v_row.current_engine THEN
        RAISE EXCEPTION 'storage engine "%" is already active', v_engine
            USING ERRCODE = '22023';
    END IF;
    IF v_row.state IS NULL OR v_row.state NOT IN ('canonical', 'prepared') THEN
        RAISE EXCEPTION 'storage prepare is only allowed from canonical or prepared state'
            USING ERRCODE = '55000';
    END IF;

    v_same := v_row.state = 'prepared'
        AND v_row.prepared_engine = v_engine AND v_row.details = v_details;
    UPDATE awa.storage_transition_state AS s
    SET prepared_engine = v_engine,
        state = 'prepared',
        details = v_details,
        transition_epoch = s.transition_epoch + CASE WHEN v_same THEN 0 ELSE 1 END,
        entered_at = CASE WHEN v_same THEN s.entered_at ELSE now() END,
        updated_at = now(),
        finalized_at = NULL
    WHERE s.singleton;
    RETURN QUERY SELECT * FROM awa.storage_status();
END
$function$;

-- Go back to canonical.  From active there is no way back: nothing changes.
CREATE FUNCTION awa.storage_abort()
RETURNS TABLE (
    current_engine   text,
    active_engine    text,
    prepared_engine  text,
    state            text,
    transition_epoch bigint,
    details          jsonb,
    entered_at       timestamptz,
    updated_at       timestamptz,
    finalized_at     timestamptz
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, awa
AS $function$
BEGIN
    UPDATE awa.storage_transition_state AS s
    SET prepared_engine = NULL,
        state = 'canonical',
        details = '{}',
        transition_epoch = s.transition_epoch + CASE WHEN s.state = 'canonical' THEN 0 ELSE 1 END,
        entered_at = CASE WHEN s.state = 'canonical' THEN s.entered_at ELSE now() END,
        updated_at = now(),
        finalized_at = NULL
    WHERE s.singleton AND s.state IN ('canonical', 'prepared', 'mixed_transition');
    RETURN QUERY SELECT * FROM awa.storage_status();
END
$function$;

CREATE FUNCTION awa.storage_enter_mixed_transition()
RETURNS TABLE (
    current_engine   text,
    active_engine    text,
    prepared_engine  text,
    state            text,
    transition_epoch bigint,
    details          jsonb,
    entered_at       timestamptz,
    updated_at       timestamptz,
    finalized_at     timestamptz
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, awa
AS $function$
BEGIN
    RAISE EXCEPTION 'storage mixed transition is not supported in this release; requires 0.6'
        USING ERRCODE = '55000';
END
$function$;

CREATE FUNCTION awa.storage_finalize()
RETURNS TABLE (
    current_engine   text,
    active_engine    text,
    prepared_engine  text,
    state            text,
    transition_epoch bigint,
    details          jsonb,
    entered_at       timestamptz,
    updated_at       timestamptz,
    finalized_at     timestamptz
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, awa
AS $function$
BEGIN
    RAISE EXCEPTION 'storage finalization is not supported in this release; requires 0.6'
        USING ERRCODE = '55000';
END
$function$;

-- The sanctioned door for one job: later releases send the row elsewhere.
CREATE FUNCTION awa.insert_job_compat(
    p_kind          text,
    p_queue         text DEFAULT 'default',
    p_args          jsonb DEFAULT '{}',
    p_state         awa.job_state DEFAULT 'available',
    p_priority      smallint DEFAULT 2,
    p_max_attempts  smallint DEFAULT 25,
    p_run_at        timestamptz DEFAULT NULL,
    p_metadata      jsonb DEFAULT '{}',
    p_tags          text[] DEFAULT ARRAY[]::text[],
    p_unique_key    bytea DEFAULT NULL,
    p_unique_states bit(8) DEFAULT NULL
)
RETURNS awa.jobs
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, awa
AS $function$
DECLARE
    v_job awa.jobs;
BEGIN
    PERFORM awa.assert_writable_canonical_storage();
    INSERT INTO awa.jobs (
        kind, queue, args, state, priority, max_attempts, run_at, metadata, tags,
        unique_key, unique_states
    ) VALUES (
        p_kind, p_queue, p_args, p_state, p_priority, p_max_attempts, p_run_at, p_metadata,
        p_tags, p_unique_key, p_unique_states
    )
    RETURNING * INTO v_job;
    RETURN v_job;
END
$function$;
