-- Jobs as people and tools look at them: every column of the row.

-- name: list_jobs
-- A page of jobs, newest id first, before a given id.  No lock; walks both primary keys backwards.
SELECT id, kind, queue, args::text AS args, state::text AS state, priority, attempt, run_lease,
       max_attempts, run_at, heartbeat_at, deadline_at, attempted_at, finalized_at, created_at,
       to_jsonb(errors)::text AS errors, metadata::text AS metadata, tags::text[] AS tags,
       encode(unique_key, 'hex') AS unique_key, unique_states::text AS unique_states,
       callback_id::text AS callback_id, callback_timeout_at, callback_filter,
       callback_on_complete, callback_on_fail, callback_transform, progress::text AS progress
FROM awa.jobs
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (:state::text IS NULL OR state = :state::text::awa.job_state)
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
ORDER BY id DESC
LIMIT :limit::bigint

-- name: get_job
-- One job by id, from either table.  No lock; both primary keys.
SELECT id, kind, queue, args::text AS args, state::text AS state, priority, attempt, run_lease,
       max_attempts, run_at, heartbeat_at, deadline_at, attempted_at, finalized_at, created_at,
       to_jsonb(errors)::text AS errors, metadata::text AS metadata, tags::text[] AS tags,
       encode(unique_key, 'hex') AS unique_key, unique_states::text AS unique_states,
       callback_id::text AS callback_id, callback_timeout_at, callback_filter,
       callback_on_complete, callback_on_fail, callback_transform, progress::text AS progress
FROM awa.jobs
WHERE id = :id::bigint
