-- summary: remember the request signatures of callbacks, so that none is accepted twice
-- breaking: no
-- Locks: none on existing tables.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (5, 'callback_signatures');

CREATE TABLE IF NOT EXISTS awa.callback_signatures (
    signature bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS callback_signatures_expires_at ON awa.callback_signatures (expires_at);

-- Who may change the jobs may change this.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT new_table, acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM unnest(ARRAY['awa.callback_signatures']::regclass[]) AS new_table
        CROSS JOIN pg_catalog.pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'awa.jobs_hot'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format(
            'GRANT %s ON %s TO %s', v_grant.privilege_type, v_grant.new_table, v_grant.role
        );
    END LOOP;
END
$block$;
