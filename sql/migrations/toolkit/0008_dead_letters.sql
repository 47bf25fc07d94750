-- summary: failed jobs of chosen queues are kept apart until someone acts on them
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (8, 'dead_letters');

CREATE TABLE IF NOT EXISTS awa.queue_policies (
    queue        text PRIMARY KEY CHECK (length(queue) BETWEEN 1 AND 200),
    dead_letters boolean NOT NULL DEFAULT false,
    updated_at   timestamptz NOT NULL DEFAULT now()
);

-- Every column of a job as it failed; no trigger, so a dead letter holds no unique key.
CREATE TABLE IF NOT EXISTS awa.dead_letters (
    LIKE awa.jobs_hot,
    reason  text NOT NULL,
    dead_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id)
);

-- Pages and depths of one queue.
CREATE INDEX IF NOT EXISTS awa_dead_letters_queue ON awa.dead_letters (queue, id);

-- Who may change the jobs may change what they become.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT new_table, acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM unnest(ARRAY['awa.queue_policies', 'awa.dead_letters']::regclass[]) AS new_table
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
