-- summary: worker processes by number, so that a lease names its process and its heartbeat
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (18, 'name_processes');

-- The leases of a process are number << 29 | a counter << 9: a row names the process that runs it,
-- or ran it last, without a column of its own.  awa 0.5 counts leases up, so a row that it has
-- claimed has other low bits.  Kept for 30 days after the last sign of life, longer than
-- awa.runtime_instances, so that old jobs name their process.
CREATE TABLE IF NOT EXISTS awa.worker_processes (
    number                 int PRIMARY KEY CHECK (number BETWEEN 1 AND 16777214),
    instance_id            uuid NOT NULL,
    hostname               text NOT NULL CHECK (length(hostname) <= 200),
    pid                    int NOT NULL,
    version                text NOT NULL CHECK (length(version) <= 200),
    -- AWA_APP_VERSION: the version of the application.
    app_version            text CHECK (length(app_version) <= 200),
    -- How often it sends heartbeats, and the age of the last one at which it is dead.  At most a
    -- hundred years.
    heartbeat_interval_ms  double precision NOT NULL
        CHECK (heartbeat_interval_ms > 0 AND heartbeat_interval_ms <= 3.2e12),
    heartbeat_staleness_ms double precision NOT NULL
        CHECK (heartbeat_staleness_ms > 0 AND heartbeat_staleness_ms <= 3.2e12),
    started_at             timestamptz NOT NULL,
    -- Written about once an hour.
    last_seen_at           timestamptz NOT NULL,
    -- When it ended as it should; null for a process that runs, or died.
    stopped_at             timestamptz
) WITH (fillfactor = 80, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX IF NOT EXISTS awa_worker_processes_seen ON awa.worker_processes (last_seen_at);

-- Who may change the jobs may say who runs them.
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
        EXECUTE format('GRANT %s ON awa.worker_processes TO %s', v_grant.privilege_type, v_grant.role);
    END LOOP;
END
$block$;
