-- Roles with the least rights.  Templates: names in braces are quoted identifiers, or literals where
-- they end in _name.  GRANT and REVOKE lock no table; a change of owner does, for an instant.

-- name: give_up_early
-- A lock that is waited for stops everybody who comes after.
SET LOCAL lock_timeout = '2s'

-- name: make_roles
-- Make the roles that are not there.  No password is set: \password does that.
DO $block$
DECLARE
    v_role record;
BEGIN
    FOR v_role IN
        SELECT name, login
        FROM (VALUES ({owner_name}, 'NOLOGIN'), ({migrator_name}, 'LOGIN'),
                     ({runtime_name}, 'LOGIN'), ({producer_name}, 'LOGIN'),
                     ({readonly_name}, 'LOGIN')) AS wanted (name, login)
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name)
    LOOP
        EXECUTE format('CREATE ROLE %I %s', v_role.name, v_role.login);
    END LOOP;
END
$block$

-- name: join_owner
-- The migrator is a member of the owner.
GRANT {owner} TO {migrator}

-- name: act_as_owner
-- Its sessions start as the owner, so that what it makes belongs to the owner.
ALTER ROLE {migrator} SET role = {owner_name}

-- name: take_over
-- Give the schema and all that is in it to the owner.  Who is no superuser joins it first: only so can
-- things be given to it.  Locks what changes hands: access exclusive, for an instant.
DO $block$
DECLARE
    v_command text;
BEGIN
    IF NOT (SELECT rolsuper OR rolname = {owner_name} FROM pg_catalog.pg_roles
            WHERE rolname = current_user) THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', {owner_name});
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', current_database(), {owner_name});
    FOR v_command IN
        SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, {owner_name})
        FROM pg_catalog.pg_namespace
        WHERE nspname = 'awa' AND pg_get_userbyid(nspowner) <> {owner_name}
        UNION ALL
        SELECT format('ALTER %s awa.%I OWNER TO %I',
                      CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                      relname, {owner_name})
        FROM pg_catalog.pg_class
        WHERE relnamespace = to_regnamespace('awa') AND relkind IN ('r', 'p', 'v', 'S')
          AND pg_get_userbyid(relowner) <> {owner_name}
          -- The sequence of a column goes with its table.
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                          WHERE d.objid = pg_class.oid AND d.classid = 'pg_class'::regclass
                            AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO %I', oid::regprocedure, {owner_name})
        FROM pg_catalog.pg_proc
        WHERE pronamespace = to_regnamespace('awa') AND pg_get_userbyid(proowner) <> {owner_name}
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO %I', oid::regtype, {owner_name})
        FROM pg_catalog.pg_type
        WHERE typnamespace = to_regnamespace('awa') AND typtype = 'e'
          AND pg_get_userbyid(typowner) <> {owner_name}
    LOOP
        EXECUTE v_command;
    END LOOP;
END
$block$

-- name: enter_database
-- What roles may do with the database itself.  TEMPORARY: COPY of awa 0.5 goes by such a table.
DO $block$
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I, %I, %I, %I',
                   current_database(), {migrator_name}, {runtime_name}, {producer_name},
                   {readonly_name});
END
$block$

-- name: close_schema
-- Nobody gets in by being anybody.
REVOKE ALL ON SCHEMA awa FROM PUBLIC

-- name: close_tables
-- Take back what was granted before; the grants that follow are all there is.
REVOKE ALL ON ALL TABLES IN SCHEMA awa
    FROM PUBLIC, {runtime}, {producer}, {readonly}

-- name: close_sequences
-- The same for sequences.
REVOKE ALL ON ALL SEQUENCES IN SCHEMA awa
    FROM PUBLIC, {runtime}, {producer}, {readonly}

-- name: close_functions
-- The same for functions that act with the rights of the owner.
REVOKE ALL ON FUNCTION awa.forget_audit, awa.tell_waiters
    FROM PUBLIC, {runtime}, {producer}, {readonly}

-- name: enter_schema
-- The key to everything in it.
GRANT USAGE ON SCHEMA awa TO {runtime}, {producer}, {readonly}

-- name: grant_table
-- Rights on tables, or on columns of them.
GRANT {privileges}
    ON {objects}
    TO {role}

-- name: grant_sequence
-- Rights on a sequence.
GRANT {privileges} ON SEQUENCE {objects} TO {role}

-- name: grant_function
-- The right to call functions, where PUBLIC has lost it.
GRANT EXECUTE
    ON FUNCTION {objects}
    TO {role}

-- name: later_tables
-- What migrations will make.
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA awa
    GRANT {privileges} ON TABLES TO {role}

-- name: missing
-- Of the rights that were asked for, those that the roles lack, by what they own, inherit, or have as
-- PUBLIC.  What does not exist is left out.
SELECT role, kind, object, privilege, column_name
FROM unnest(:roles::text[], :kinds::text[], :objects::text[], :privileges::text[],
            :columns::text[]) AS asked (role, kind, object, privilege, column_name)
JOIN pg_catalog.pg_roles AS r ON r.rolname = role
LEFT JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = to_regnamespace('awa') AND c.relname = object
    AND kind IN ('table', 'column', 'sequence')
LEFT JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid = c.oid AND a.attname = column_name AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_proc AS p
    ON p.pronamespace = to_regnamespace('awa') AND p.proname = object AND kind = 'function'
WHERE NOT CASE kind
    WHEN 'schema' THEN has_schema_privilege(r.oid, to_regnamespace('awa')::oid, privilege)
    WHEN 'table' THEN has_table_privilege(r.oid, c.oid, privilege)
    WHEN 'column' THEN has_column_privilege(r.oid, c.oid, a.attnum, privilege)
    WHEN 'sequence' THEN has_sequence_privilege(r.oid, c.oid, privilege)
    WHEN 'function' THEN has_function_privilege(r.oid, p.oid, privilege)
END
ORDER BY role COLLATE "C", kind, object COLLATE "C", privilege

-- name: held
-- What was granted to these roles, or to PUBLIC, on tables and columns of the schema, and on functions
-- that act with the rights of their owner.
SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee)::text END AS role,
       CASE WHEN g.column_name IS NULL THEN 'function' WHEN g.column_name = '' THEN 'table'
            ELSE 'column' END AS kind,
       g.relname::text AS object, acl.privilege_type::text AS privilege,
       coalesce(g.column_name, '') AS column_name
FROM (
    SELECT c.relname, c.relowner, c.relacl AS acl, '' AS column_name
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = to_regnamespace('awa') AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT c.relname, c.relowner, a.attacl, a.attname::text
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
    WHERE c.relnamespace = to_regnamespace('awa') AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT p.proname, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), NULL
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = to_regnamespace('awa') AND p.prosecdef
) AS g
CROSS JOIN LATERAL aclexplode(g.acl) AS acl
WHERE acl.grantee <> g.relowner
  AND (acl.grantee = 0 OR pg_get_userbyid(acl.grantee) = ANY(:roles::text[]))
ORDER BY 1, 3, 4, 5

-- name: standing
-- The roles that matter here: this session's, those of sessions that work jobs, and those that are
-- named as `awa roles` names them after the owner of the schema.
WITH owner AS (
    SELECT pg_get_userbyid(nspowner)::text AS name FROM pg_catalog.pg_namespace WHERE nspname = 'awa'
), working AS (
    SELECT DISTINCT usename::text AS name FROM pg_catalog.pg_stat_activity
    WHERE application_name LIKE :workers::text AND datname = current_database()
)
SELECT r.rolname::text AS role, r.rolsuper AS superuser, owner.name AS owner,
       r.rolname = owner.name AS owns,
       r.rolname = current_user AS own, r.rolname IN (SELECT name FROM working) AS works
FROM owner
JOIN pg_catalog.pg_roles AS r
    ON r.rolname IN (SELECT current_user UNION SELECT name FROM working)
    OR owner.name LIKE '%owner' AND r.rolname IN (
        SELECT left(owner.name, -5) || purpose
        FROM unnest(ARRAY['runtime', 'producer', 'readonly']) AS purpose)
ORDER BY 1
