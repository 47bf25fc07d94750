-- Read model of periodic jobs.

-- name: list_cron_jobs
-- Every schedule, or the one of this name, by name.  A schedule is declared while a live process
-- has it: each says so once a minute.  No lock.
SELECT c.name, c.cron_expr, c.timezone, c.kind, c.queue, c.args, c.priority, c.max_attempts, c.tags,
       c.metadata, c.last_enqueued_at, c.created_at, c.updated_at,
       coalesce(s.missed_fire_policy, 'coalesce') AS missed_fire_policy,
       coalesce(s.catch_up_limit, 1) AS catch_up_limit,
       coalesce(s.jitter_seconds, 0) AS jitter_seconds, s.paused_at, s.paused_by, s.declared_at,
       coalesce(s.declared_at > now() - interval '3 minutes', false) AS declared, now() AS now
FROM awa.cron_jobs AS c
LEFT JOIN awa.cron_settings AS s ON s.name = c.name
WHERE :name::text IS NULL OR c.name = :name::text
ORDER BY c.name
