-- summary: who waits for a job to end is told at once
-- breaking: no
-- Locks: awa.jobs_hot against writers, for the moment it takes to create a trigger.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (12, 'job_waits');

-- One row per job and waiting session.  Nothing is lost with it: a waiter also looks by itself.
CREATE UNLOGGED TABLE IF NOT EXISTS awa.job_waits (
    job_id     bigint NOT NULL,
    session    integer NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (job_id, session)
);

-- Whoever ends a job may not be allowed to read who waits, and is not to notice.
CREATE OR REPLACE FUNCTION awa.tell_waiters() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $function$
BEGIN
    IF EXISTS (SELECT FROM awa.job_waits) THEN
        PERFORM pg_notify('awa_job_state', w.job_id || ' ' || n.state)
        FROM awa.job_waits AS w
        JOIN new_rows AS n ON n.id = w.job_id
        WHERE w.expires_at > now();
    END IF;
    RETURN NULL;
END
$function$;

DROP TRIGGER IF EXISTS trg_awa_tell_waiters ON awa.jobs_hot;
CREATE TRIGGER trg_awa_tell_waiters
    AFTER UPDATE ON awa.jobs_hot
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.tell_waiters();

-- Who may change the jobs may wait for them.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'awa.jobs_hot'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON awa.job_waits TO %s', v_grant.privilege_type, v_grant.role);
    END LOOP;
END
$block$;
