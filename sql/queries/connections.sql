-- The settings of a connection, for servers that did not get the start-up parameters.

-- name: arrived
-- The server process of this session and its settings, empty for an unknown setting.
SELECT pg_backend_pid() AS pid,
       ARRAY(SELECT coalesce(current_setting(n.name, true), '')
             FROM unnest(:names::text[]) WITH ORDINALITY AS n(name, place)
             ORDER BY n.place) AS settings

-- name: set_session
-- Set settings for the session.
SELECT set_config(s.name, s.value, false)
FROM unnest(:names::text[], :values::text[]) AS s(name, value)

-- name: set_local
-- Set settings for the transaction.
SELECT set_config(s.name, s.value, true)
FROM unnest(:names::text[], :values::text[]) AS s(name, value)
