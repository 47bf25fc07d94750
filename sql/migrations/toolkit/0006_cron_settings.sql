-- summary: what a schedule needs beside its published row: policy, pause, jitter, who declares it
-- breaking: no
-- Locks: none on existing tables.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (6, 'cron_settings');

CREATE TABLE IF NOT EXISTS awa.cron_settings (
    name text PRIMARY KEY,
    missed_fire_policy text NOT NULL DEFAULT 'coalesce'
        CONSTRAINT cron_settings_policy CHECK (missed_fire_policy IN ('coalesce', 'catch_up')),
    catch_up_limit integer NOT NULL DEFAULT 100
        CONSTRAINT cron_settings_limit CHECK (catch_up_limit BETWEEN 1 AND 10000),
    jitter_seconds double precision NOT NULL DEFAULT 0
        CONSTRAINT cron_settings_jitter CHECK (jitter_seconds >= 0),
    paused_at timestamptz,
    paused_by text,
    declared_at timestamptz,
    removed_at timestamptz
);

-- Who may change the jobs may change this.
DO $block$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT new_table, acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
        FROM unnest(ARRAY['awa.cron_settings']::regclass[]) AS new_table
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
