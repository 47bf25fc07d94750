-- summary: who changed what, written in the transaction of the change
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (13, 'audit_log');

CREATE TABLE IF NOT EXISTS awa.audit_log (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL DEFAULT now(),
    actor         text NOT NULL CHECK (length(actor) <= 200),
    via           text NOT NULL CHECK (length(via) <= 40),
    action        text NOT NULL CHECK (length(action) <= 100),
    target        text NOT NULL CHECK (length(target) <= 300),
    detail        jsonb NOT NULL DEFAULT '{}',
    -- What the server itself knows, whatever the program says.
    database_user text NOT NULL DEFAULT session_user,
    address       inet DEFAULT inet_client_addr()
);

-- Retention.
CREATE INDEX IF NOT EXISTS awa_audit_log_at ON awa.audit_log (at);

-- Entries can be added and read, but neither changed nor taken back by who made them; old ones
-- go by this function alone.
CREATE OR REPLACE FUNCTION awa.forget_audit(p_days integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
AS $function$
    WITH gone AS (
        DELETE FROM awa.audit_log
        WHERE at < now() - make_interval(days => greatest(p_days, 90))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$function$;

-- Who may read the jobs may read the entries; who may change jobs may add to them.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT DISTINCT
               CASE acl.privilege_type WHEN 'SELECT' THEN 'SELECT' ELSE 'INSERT' END AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'awa.jobs_hot'::regclass AND acl.grantee <> c.relowner
          AND acl.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    LOOP
        EXECUTE format('GRANT %s ON awa.audit_log TO %s', v_grant.privilege, v_grant.role);
    END LOOP;
END
$block$;
