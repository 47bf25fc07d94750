-- Dead letters: failed jobs kept apart from the queue until an operator acts.  A job moves by
-- DELETE and INSERT in one statement, so it is always in exactly one place; the triggers on the
-- job tables release its unique key and claim it again.  Sets are bounded, and locked with SKIP
-- LOCKED.

-- name: set_policy
-- Choose whether failed jobs of a queue become dead letters.
INSERT INTO awa.queue_policies (queue, dead_letters)
VALUES (:queue::text, :enabled::boolean)
ON CONFLICT (queue) DO UPDATE
SET dead_letters = excluded.dead_letters, updated_at = now()

-- name: failed_ids_of_policies
-- Ids of failed jobs that must move, ascending.  No lock; index awa_jobs_hot_unsuccessful, which
-- holds the queue, and which is not read while no queue has the policy (a million failed jobs of
-- other queues cost 17 ms).  The condition fits the predicate of no other index, and the order is
-- not that of the primary key, which would be scanned to its end.
SELECT id FROM awa.jobs_hot
WHERE state = ANY('{failed,waiting_external}'::awa.job_state[]) AND state < 'cancelled'
  AND EXISTS (SELECT FROM awa.queue_policies WHERE dead_letters)
  AND queue = ANY (ARRAY(SELECT p.queue FROM awa.queue_policies AS p WHERE p.dead_letters))
ORDER BY state, id
LIMIT :limit::int

-- name: failed_ids
-- A page of ids of failed jobs after a given id, ascending.  No lock; index
-- awa_jobs_hot_unsuccessful.
SELECT id FROM awa.jobs_hot
WHERE state = ANY('{failed,waiting_external}'::awa.job_state[]) AND state < 'cancelled' AND id > :after::bigint
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
  AND (:failure::text IS NULL
       OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY state, id
LIMIT :limit::int

-- name: move_failed
-- Move failed jobs to the dead letters; a NULL reason takes the first line of each job's last
-- error.  Locks rows in id order; leaves out rows that are locked.
WITH failed AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND state::text = 'failed'
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.jobs_hot WHERE id = ANY(ARRAY(SELECT id FROM failed)) RETURNING *
), moved AS (
    INSERT INTO awa.dead_letters (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, heartbeat_at,
        deadline_at, attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
        unique_states, callback_id, callback_timeout_at, callback_filter, callback_on_complete,
        callback_on_fail, callback_transform, run_lease, progress, reason
    )
    SELECT
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, heartbeat_at,
        deadline_at, attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
        unique_states, callback_id, callback_timeout_at, callback_filter, callback_on_complete,
        callback_on_fail, callback_transform, run_lease, progress,
        coalesce(:reason::text, split_part(errors[cardinality(errors)] ->> 'error', E'\n', 1),
                 'failed')
    FROM gone
    RETURNING id
)
SELECT id FROM moved ORDER BY id

-- name: ids
-- A page of ids of dead letters after a given id, ascending.  No lock; primary key, or
-- awa_dead_letters_queue.
SELECT id FROM awa.dead_letters
WHERE id > :after::bigint
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
  AND (:failure::text IS NULL
       OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY id
LIMIT :limit::int

-- name: retry
-- Make dead letters jobs again: same id, attempt 0.  Errors, progress and lease are kept;
-- callbacks and their answers are not, because they belong to earlier attempts.  If a unique key
-- was taken meanwhile, the insert trigger raises and nothing changes.  The insert into the hot
-- table notifies.  Jobs of workflows are noted there.  Locks rows in id order.
WITH dead AS MATERIALIZED (
    SELECT id FROM awa.dead_letters
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.dead_letters WHERE id = ANY(ARRAY(SELECT id FROM dead)) RETURNING *
), hot AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        created_at, errors, metadata, tags, unique_key, unique_states, run_lease, progress
    )
    SELECT id, kind, coalesce(:queue::text, queue), args, 'available',
           coalesce(:priority::smallint, priority), 0, max_attempts, now(), attempted_at,
           created_at, errors,
           metadata - '{_awa_callbacks,_awa_callback_result,_awa_reenter,_awa_crashes}'::text[],
           tags, unique_key, unique_states, run_lease, progress
    FROM gone
    WHERE :run_at::timestamptz IS NULL OR :run_at::timestamptz <= now()
    RETURNING *
), cold AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        created_at, errors, metadata, tags, unique_key, unique_states, run_lease, progress
    )
    SELECT id, kind, coalesce(:queue::text, queue), args, 'scheduled',
           coalesce(:priority::smallint, priority), 0, max_attempts, :run_at::timestamptz,
           attempted_at, created_at, errors,
           metadata - '{_awa_callbacks,_awa_callback_result,_awa_reenter,_awa_crashes}'::text[],
           tags, unique_key, unique_states, run_lease, progress
    FROM gone
    WHERE :run_at::timestamptz > now()
    RETURNING *
), changed AS (
    SELECT * FROM hot UNION ALL SELECT * FROM cold
), noted AS (
    INSERT INTO awa.workflow_events (workflow_id, job_ids)
    SELECT workflow_id, array_agg(id)
    FROM (SELECT id, (metadata ->> '_awa_workflow')::bigint AS workflow_id FROM changed
          WHERE metadata ->> '_awa_workflow' ~ '^[1-9][0-9]{0,17}$') AS of_workflows
    GROUP BY workflow_id
)
SELECT :job.*
FROM changed
ORDER BY id

-- name: purge
-- Delete dead letters, with their logs.  Locks rows in id order.
WITH dead AS MATERIALIZED (
    SELECT id FROM awa.dead_letters
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.dead_letters WHERE id = ANY(ARRAY(SELECT id FROM dead)) RETURNING id
), logs AS (
    DELETE FROM awa.job_logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))
)
SELECT id FROM gone

-- name: is_dead
-- Return a row if the job is a dead letter.  Primary key.
SELECT id FROM awa.dead_letters WHERE id = :id::bigint
