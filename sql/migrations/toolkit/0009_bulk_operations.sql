-- summary: changes of many jobs that survive a crash and show how far they are
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (9, 'bulk_operations');

CREATE TABLE IF NOT EXISTS awa.bulk_operations (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    operation     text NOT NULL CHECK (
        operation IN ('retry', 'cancel', 'delete', 'set_priority', 'move_queue')
    ),
    filter        jsonb NOT NULL,
    spec          jsonb NOT NULL DEFAULT '{}',
    state         text NOT NULL DEFAULT 'pending' CHECK (
        state IN ('pending', 'running', 'completed', 'cancelled', 'failed')
    ),
    -- The walk goes by id: done up to cursor, over at last_id; then the deferred ones once more.
    cursor        bigint NOT NULL DEFAULT 0,
    last_id       bigint NOT NULL,
    deferred      bigint[] NOT NULL DEFAULT '{}',
    total_matched bigint NOT NULL,
    processed     bigint NOT NULL DEFAULT 0,
    skipped       bigint NOT NULL DEFAULT 0,
    errored       bigint NOT NULL DEFAULT 0,
    last_error    text,
    submitted_by  text,
    submitted_at  timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0);

-- The leader asks every second what is left to do.
CREATE INDEX IF NOT EXISTS awa_bulk_operations_open
    ON awa.bulk_operations (submitted_at, id) WHERE state IN ('pending', 'running');

-- Who may change the jobs may have them changed.
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
        EXECUTE format(
            'GRANT %s ON awa.bulk_operations TO %s', v_grant.privilege_type, v_grant.role
        );
    END LOOP;
END
$block$;
