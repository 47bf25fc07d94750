-- summary: how attempts ended, counted by minute and hour, and failures by group
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (17, 'count_ends');

-- Attempts that failed in the same way.  No more than about 1,000 rows: see failures.count_ends.
CREATE TABLE IF NOT EXISTS awa.failures (
    id            text PRIMARY KEY CHECK (length(id) <= 20),
    -- The version of the rule that made the id; awa_lib/telemetry/failures.py.
    rule          smallint NOT NULL,
    -- The kind that brought it; others may have it too.
    kind          text NOT NULL CHECK (length(kind) <= 200),
    error_type    text NOT NULL CHECK (length(error_type) <= 200),
    message       text NOT NULL CHECK (length(message) <= 200),
    frames        text[] NOT NULL DEFAULT '{}' CHECK (cardinality(frames) <= 10),
    -- The last job.
    job_id        bigint NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    first_version text CHECK (length(first_version) <= 200),
    muted_until   timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX IF NOT EXISTS awa_failures_kind ON awa.failures (kind);

-- Ends are written twice, by minute and by hour: the first are kept for two days, and a read of a
-- longer time does not add up minutes.
CREATE TABLE IF NOT EXISTS awa.job_ends (
    minutes smallint NOT NULL CHECK (minutes IN (1, 60)),
    -- The start of the minute or hour, in UTC.
    bucket  timestamptz NOT NULL,
    queue   text NOT NULL CHECK (length(queue) <= 200),
    kind    text NOT NULL CHECK (length(kind) <= 200),
    outcome text NOT NULL CHECK (
        outcome IN ('completed', 'retried', 'failed', 'cancelled', 'snoozed', 'requeued')
    ),
    -- An id of awa.failures, or empty: a primary key holds no null.
    failure text NOT NULL DEFAULT '',
    ends    bigint NOT NULL,
    PRIMARY KEY (minutes, bucket, queue, kind, outcome, failure)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- Who may change the jobs may count them.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT new_table, acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM unnest(ARRAY['awa.failures', 'awa.job_ends']::regclass[]) AS new_table
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
