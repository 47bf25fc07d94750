-- summary: a unique conflict says which job holds the key
-- breaking: no
-- Locks: none that wait; the triggers stay as they are.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (7, 'name_unique_holder');

-- The published function and its message, with a detail.
CREATE OR REPLACE FUNCTION awa.sync_job_unique_claims() RETURNS trigger
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
                        'duplicate key value violates unique constraint "idx_awa_jobs_unique"',
                    DETAIL = 'held by job ' || coalesce(holder::text, 'unknown');
            END IF;
        END;
    END IF;
    RETURN NULL;
END
$function$;
