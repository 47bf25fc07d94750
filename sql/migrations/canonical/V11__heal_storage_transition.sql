-- summary: a missing transition row means canonical, and is put back
-- description: Storage transition self-heal: NULL-safe engine resolution and singleton re-seed
-- breaking: no
-- Locks: none that anybody waits for.

INSERT INTO awa.schema_version (version, description)
VALUES (11, 'Storage transition self-heal: NULL-safe engine resolution and singleton re-seed');

INSERT INTO awa.storage_transition_state (singleton, current_engine, state)
VALUES (true, 'canonical', 'canonical')
ON CONFLICT (singleton) DO NOTHING;

CREATE OR REPLACE FUNCTION awa.active_storage_engine() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, awa
AS $function$
    SELECT coalesce(
        (
            SELECT CASE
                WHEN s.state IN ('mixed_transition', 'active')
                    THEN coalesce(s.prepared_engine, s.current_engine)
                ELSE s.current_engine
            END
            FROM awa.storage_transition_state AS s
            WHERE s.singleton
        ),
        'canonical'
    )
$function$;

CREATE OR REPLACE FUNCTION awa.assert_writable_canonical_storage() RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, awa
AS $function$
DECLARE
    v_engine text := coalesce(awa.active_storage_engine(), 'canonical');
BEGIN
    IF v_engine <> 'canonical' THEN
        RAISE EXCEPTION 'storage engine "%" is not writable in this release', v_engine
            USING ERRCODE = '55000';
    END IF;
    RETURN true;
END
$function$;
