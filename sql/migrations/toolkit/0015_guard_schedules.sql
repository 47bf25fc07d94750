-- summary: changed schedules start from now, only workers let old audit entries go, publications work
-- breaking: no
-- Locks: access exclusive on awa.cron_jobs, and on tables without a primary key that are not told
-- apart yet (awa.job_unique_claims), for the moment it takes to change a catalog.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (15, 'guard_schedules');

-- A schedule with another expression or time zone begins now, whoever changed it: fires of the new
-- one before the change were never due.  Leaders compare last_enqueued_at before they fire, so one
-- that has read the old value fires nothing.  Who sets the time as well is obeyed.
CREATE OR REPLACE FUNCTION awa.restart_changed_schedule() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog
AS $function$
BEGIN
    IF NEW.last_enqueued_at IS NOT DISTINCT FROM OLD.last_enqueued_at THEN
        NEW.last_enqueued_at := date_trunc('second', clock_timestamp());
    END IF;
    RETURN NEW;
END
$function$;

DROP TRIGGER IF EXISTS trg_awa_restart_changed_schedule ON awa.cron_jobs;
CREATE TRIGGER trg_awa_restart_changed_schedule
    BEFORE UPDATE OF cron_expr, timezone ON awa.cron_jobs
    FOR EACH ROW
    WHEN (OLD.cron_expr IS DISTINCT FROM NEW.cron_expr OR OLD.timezone IS DISTINCT FROM NEW.timezone)
    EXECUTE FUNCTION awa.restart_changed_schedule();

-- Functions with the rights of the owner are not for everybody.  Old entries of the audit log are let
-- go by workers: by roles that may delete jobs.
REVOKE ALL ON FUNCTION awa.forget_audit(integer), awa.tell_waiters() FROM PUBLIC;

DO $block$
DECLARE
    v_command text;
BEGIN
    FOR v_command IN
        SELECT format('GRANT EXECUTE ON FUNCTION awa.forget_audit(integer) TO %s',
                      acl.grantee::regrole)
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'awa.jobs_hot'::regclass AND acl.privilege_type = 'DELETE'
          AND acl.grantee NOT IN (0, c.relowner)
        UNION ALL
        -- Rights on tables of later migrations were granted before this table was made.
        SELECT format('REVOKE UPDATE, DELETE, TRUNCATE ON awa.audit_log FROM %s', role)
        FROM (
            SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
            FROM pg_catalog.pg_class AS c
            CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
            WHERE c.oid = 'awa.audit_log'::regclass AND acl.grantee <> c.relowner
              AND acl.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
        ) AS wide
        UNION ALL
        -- Who adds entries says who did what; when, as which user and from where the server says.
        SELECT format('REVOKE INSERT ON awa.audit_log FROM %1$s; GRANT INSERT'
                      ' (actor, via, action, target, detail) ON awa.audit_log TO %1$s', role)
        FROM (
            SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role
            FROM pg_catalog.pg_class AS c
            CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
            WHERE c.oid = 'awa.audit_log'::regclass AND acl.grantee <> c.relowner
              AND acl.privilege_type = 'INSERT'
        ) AS forging
    LOOP
        EXECUTE v_command;
    END LOOP;
END
$block$;

-- A publication of all tables refuses every UPDATE and DELETE of a table that does not say which row
-- was meant.  A primary key says it; else a unique index of columns that are never null, else the
-- whole row.
DO $block$
DECLARE
    v_table record;
BEGIN
    FOR v_table IN
        SELECT c.oid::regclass AS name,
               (SELECT i.relname
                FROM pg_catalog.pg_index AS x
                JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
                WHERE x.indrelid = c.oid AND x.indisunique AND x.indimmediate AND x.indisvalid
                  AND x.indpred IS NULL AND x.indexprs IS NULL
                  AND NOT EXISTS (
                      SELECT FROM pg_catalog.pg_attribute AS a
                      WHERE a.attrelid = c.oid AND NOT a.attnotnull
                        AND a.attnum = ANY (x.indkey::int2[]))
                ORDER BY i.relname
                LIMIT 1) AS index
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'awa'::regnamespace AND c.relkind IN ('r', 'p')
          AND c.relpersistence = 'p'
          AND NOT CASE c.relreplident
              WHEN 'f' THEN true
              WHEN 'd' THEN EXISTS (SELECT FROM pg_catalog.pg_index AS x
                                    WHERE x.indrelid = c.oid AND x.indisprimary)
              WHEN 'i' THEN EXISTS (SELECT FROM pg_catalog.pg_index AS x
                                    WHERE x.indrelid = c.oid AND x.indisreplident)
              ELSE false
          END
    LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY %s', v_table.name,
                       coalesce(format('USING INDEX %I', v_table.index), 'FULL'));
    END LOOP;
END
$block$;
