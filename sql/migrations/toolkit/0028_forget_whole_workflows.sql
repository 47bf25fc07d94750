-- summary: workflows: deleted whole for whoever reads them; an extension with a key is made once
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (28, 'forget_whole_workflows');

-- Workflows whose row retention has deleted, and whose tasks and edges it still deletes, in batches.
-- Nobody finds them by the row, and whoever leads next goes on from here.
CREATE TABLE IF NOT EXISTS awa.forgotten_workflows (
    id bigint PRIMARY KEY
);

-- The keys of extensions that were made; a second one with the same key adds nothing.  Written under
-- the lock of the workflow's row.
CREATE TABLE IF NOT EXISTS awa.workflow_extensions (
    workflow_id bigint NOT NULL,
    key         text NOT NULL,
    PRIMARY KEY (workflow_id, key)
);

-- Who may read or change workflows may read or change these.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT acl.privilege_type, t.name,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN (VALUES ('forgotten_workflows'), ('workflow_extensions')) AS t (name)
        WHERE c.oid = 'awa.workflow_edges'::regclass AND acl.grantee <> c.relowner
          -- A producer only inserts edges.
          AND EXISTS (SELECT FROM aclexplode(c.relacl) AS read
                      WHERE read.grantee = acl.grantee AND read.privilege_type = 'SELECT')
    LOOP
        EXECUTE format('GRANT %s ON awa.%I TO %s',
                       v_grant.privilege_type, v_grant.name, v_grant.role);
    END LOOP;
END
$block$;
