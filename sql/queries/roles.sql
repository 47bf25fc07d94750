-- Roles with the least rights.  Templates: a name in braces is a quoted identifier, or a literal
-- if it ends in _name.  GRANT and REVOKE lock no table; a change of owner does, for an instant.

-- name: give_up_early
-- Limit the wait for a lock: a waiting statement blocks every later statement on the table.
SET LOCAL lock_timeout = '2s'

-- name: make_roles
-- Create the roles that do not exist.  Sets no password; use \password.
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
-- Make the migrator a member of the owner.
GRANT {owner} TO {migrator}

-- name: act_as_owner
-- Start the migrator's sessions as the owner, so that its objects belong to the owner.
ALTER ROLE {migrator} SET role = {owner_name}

-- name: take_over
-- Make the owner own the schema and its objects.  A role that is not a superuser first becomes a
-- member of the owner, which a change of owner requires.  Access exclusive locks, for an instant.
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
          -- The sequence of a column changes its owner with the table.
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
-- Grant the rights on the database.  TEMPORARY, because COPY of awa 0.5 uses a temporary table.
DO $block$
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I, %I, %I, %I',
                   current_database(), {migrator_name}, {runtime_name}, {producer_name},
                   {readonly_name});
END
$block$

-- name: close_schema
-- Revoke the rights of PUBLIC on the schema.
REVOKE ALL ON SCHEMA awa FROM PUBLIC

-- name: close_tables
-- Revoke earlier grants on tables; the grants that follow are complete.
REVOKE ALL ON ALL TABLES IN SCHEMA awa
    FROM PUBLIC, {runtime}, {producer}, {readonly}

-- name: close_sequences
-- The same for sequences.
REVOKE ALL ON ALL SEQUENCES IN SCHEMA awa
    FROM PUBLIC, {runtime}, {producer}, {readonly}

-- name: close_functions
-- The same for functions that run with the rights of the owner.
REVOKE ALL ON FUNCTION awa.forget_audit, awa.tell_waiters
    FROM PUBLIC, {runtime}, {producer}, {readonly}

-- name: enter_schema
-- Grant the use of the schema.
GRANT USAGE ON SCHEMA awa TO {runtime}, {producer}, {readonly}

-- name: grant_table
-- Grant rights on tables, or on columns.
GRANT {privileges}
    ON {objects}
    TO {role}

-- name: grant_sequence
-- Grant rights on a sequence.
GRANT {privileges} ON SEQUENCE {objects} TO {role}

-- name: grant_function
-- Grant the right to call functions that PUBLIC may not call.
GRANT EXECUTE
    ON FUNCTION {objects}
    TO {role}

-- name: later_tables
-- Grant rights on tables that later migrations create.
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA awa
    GRANT {privileges} ON TABLES TO {role}

-- name: missing
-- Of the given rights, those that the roles lack; ownership, membership and PUBLIC count.  Objects
-- that do not exist are left out.
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
-- Rights granted to these roles, or to PUBLIC, on tables and columns of the schema, and on
-- functions that run with the rights of their owner.
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
-- The role of this session, the roles of worker sessions, and the roles with the names that awa
-- roles derives from the owner of the schema.
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
