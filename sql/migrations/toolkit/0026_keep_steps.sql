-- summary: durable steps of handlers
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (26, 'keep_steps');

-- A step of a handler that has ended, and what it returned: later attempts get it from here.  A
-- sleep is a step that ends when it is over.  A job may be deleted before its steps: no foreign key.
CREATE TABLE IF NOT EXISTS awa.job_steps (
    job_id     bigint NOT NULL,
    -- In the order in which they ended.
    number     integer NOT NULL,
    name       text NOT NULL,
    value      jsonb NOT NULL,
    attempt    smallint NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    -- When the leader looks at the row next.
    purge_at   timestamptz NOT NULL DEFAULT now() + interval '1 day',
    PRIMARY KEY (job_id, name)
);

CREATE INDEX IF NOT EXISTS awa_job_steps_purge_at ON awa.job_steps (purge_at);

-- Who may read or change the jobs may read or change their steps.
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
        EXECUTE format('GRANT %s ON awa.job_steps TO %s', v_grant.privilege_type, v_grant.role);
    END LOOP;
END
$block$;
