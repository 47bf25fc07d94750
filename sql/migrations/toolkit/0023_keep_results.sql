-- summary: the results of handlers, by job, until they expire
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (23, 'keep_results');

-- What the handler of a completed job has returned; only of kinds that keep results.  A row of its
-- own, because the row of a job is read whole by claims and lists, and retention deletes it first.
-- A job may be deleted before its result: no foreign key.
CREATE TABLE IF NOT EXISTS awa.job_results (
    job_id     bigint PRIMARY KEY,
    -- Null when it has expired and its job is still there: the row then says that there was one.
    value      jsonb,
    -- Of the JSON text that was sent.
    size_bytes int NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    -- When the leader looks at the row next.
    purge_at   timestamptz NOT NULL
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX IF NOT EXISTS awa_job_results_purge_at ON awa.job_results (purge_at);

-- Who may read or change the jobs may read or change their results.
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
        EXECUTE format('GRANT %s ON awa.job_results TO %s', v_grant.privilege_type, v_grant.role);
    END LOOP;
END
$block$;
