-- summary: the answers of callbacks, so that a repeated delivery is told what the first one did
-- breaking: no
-- Locks: none, everything is new.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (19, 'keep_answers');

-- An answered callback leaves its job's row, so a second delivery finds nothing there.  Kept for 30
-- days, longer than senders repeat.  A job may be deleted before: no foreign key.
CREATE TABLE IF NOT EXISTS awa.answered_callbacks (
    callback_id uuid PRIMARY KEY,
    job_id      bigint NOT NULL,
    action      text NOT NULL CHECK (action IN ('complete', 'fail', 'resume')),
    -- Of the job, just after the answer.
    state       awa.job_state NOT NULL,
    answered_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS awa_answered_callbacks_at ON awa.answered_callbacks (answered_at);

-- Who may change the jobs may answer their callbacks.
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
        EXECUTE format('GRANT %s ON awa.answered_callbacks TO %s', v_grant.privilege_type, v_grant.role);
    END LOOP;
END
$block$;
