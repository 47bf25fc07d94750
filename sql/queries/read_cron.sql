-- Read schedules.

-- name: list_cron_jobs
-- Every schedule, or one, by name.  A schedule is declared while a live process has it: each
-- process says so once a minute.  Times that a Python datetime cannot hold are NULL.  No lock.
SELECT c.name, coalesce(c.cron_expr, '') AS cron_expr, coalesce(c.timezone, '') AS timezone, c.kind,
       c.queue, c.args, c.priority, c.max_attempts, c.tags, c.metadata,
       coalesce(jsonb_typeof(c.metadata), 'null') AS metadata_type,
       CASE WHEN c.last_enqueued_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z'
            THEN c.last_enqueued_at END AS last_enqueued_at,
       CASE WHEN c.created_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z'
            THEN c.created_at END AS created_at,
       CASE WHEN c.updated_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z'
            THEN c.updated_at END AS updated_at,
       coalesce(c.last_enqueued_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z', true)
       AND coalesce(c.created_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z', false) AS times_readable,
       coalesce(s.missed_fire_policy, 'coalesce') AS missed_fire_policy,
       coalesce(s.catch_up_limit, 1) AS catch_up_limit,
       coalesce(s.jitter_seconds, 0) AS jitter_seconds,
       CASE WHEN s.paused_at IS NOT NULL
            THEN least(greatest(s.paused_at, '0002-01-01 Z'), '9998-12-31 Z') END AS paused_at,
       s.paused_by,
       CASE WHEN s.declared_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z'
            THEN s.declared_at END AS declared_at,
       coalesce(s.declared_at > now() - interval '3 minutes', false) AS declared, now() AS now
FROM awa.cron_jobs AS c
LEFT JOIN awa.cron_settings AS s ON s.name = c.name
WHERE :name::text IS NULL OR c.name = :name::text
ORDER BY c.name
