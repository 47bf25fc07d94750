-- What every connection is set up with, where start-up parameters did not arrive.

-- name: arrived
-- Which process serves this session, and what it has been set to; null for an unknown setting.
SELECT pg_backend_pid() AS pid,
       ARRAY(SELECT coalesce(current_setting(n.name, true), '')
             FROM unnest(:names::text[]) WITH ORDINALITY AS n(name, place)
             ORDER BY n.place) AS settings

-- name: set_session
-- Set the session.
SELECT set_config(s.name, s.value, false)
FROM unnest(:names::text[], :values::text[]) AS s(name, value)

-- name: set_local
-- Set the transaction.
SELECT set_config(s.name, s.value, true)
FROM unnest(:names::text[], :values::text[]) AS s(name, value)
