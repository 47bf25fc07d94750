-- summary: ends by people and by callbacks from outside, which the leader counts
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (21, 'count_outside_ends');

-- An end that no worker sees is added here by the statement that makes it.  To count it in
-- awa.job_ends would lock rows that others wait for until the caller commits.  The leader moves the
-- rows there about every two seconds.
CREATE TABLE IF NOT EXISTS awa.uncounted_ends (
    id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    at      timestamptz NOT NULL DEFAULT now(),
    queue   text NOT NULL CHECK (length(queue) <= 200),
    kind    text NOT NULL CHECK (length(kind) <= 200),
    outcome text NOT NULL CHECK (outcome IN ('completed', 'failed', 'cancelled')),
    ends    bigint NOT NULL DEFAULT 1,
    -- Of a failed job: its id, and the row of awa.failures that it belongs to.
    job_id  bigint,
    failure jsonb
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- Who may change the jobs may count them.
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
        EXECUTE format('GRANT %s ON awa.uncounted_ends TO %s', v_grant.privilege_type, v_grant.role);
    END LOOP;
END
$block$;
