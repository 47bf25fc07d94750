-- summary: what handlers log, kept for each run of a job
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (24, 'job_logs');

-- The last records of each run whose kind or queue keeps logs, at most 64 kB.  The lease tells runs
-- with the same number of attempt apart: a snooze, or the death of a worker, does not count.
CREATE TABLE IF NOT EXISTS awa.job_logs (
    job_id     bigint NOT NULL,
    run_lease  bigint NOT NULL,
    attempt    smallint NOT NULL,
    -- A record is a line of JSON, the oldest first.
    lines      text NOT NULL CHECK (octet_length(lines) <= 65536),
    -- How many records the run has made, those dropped included.
    records    bigint NOT NULL,
    dropped    bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, run_lease)
) WITH (autovacuum_vacuum_cost_delay = 0);

-- Who may change or read the jobs may do the same with their logs.
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
        EXECUTE format('GRANT %s ON awa.job_logs TO %s', v_grant.privilege_type, v_grant.role);
    END LOOP;
END
$block$;
