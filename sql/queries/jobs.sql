-- Jobs as producers and operators see them: insert, look up, retry, cancel, discard.
-- Rows in state scheduled or retryable live in awa.scheduled_jobs, all others in awa.jobs_hot.

-- name: insert_jobs
-- Insert any number of jobs, ids ascending in input order.  Columns whose arrays are empty take
-- the scalar default.  Inserts nothing when another storage engine takes the writes
-- (the op then uses insert_jobs_compat).  A job with run_at in the past is available at once.
-- Fires the notify and unique-claim triggers.  Unique keys are claimed in key order, whatever the
-- order of the jobs, so that two writers wait for each other and never deadlock: the triggers run
-- in the order of the rows, available jobs before scheduled ones, and if a call has both, the
-- claims are made first (the trigger then finds the claim of the same job).
WITH input AS MATERIALIZED (
    SELECT coalesce(u.given_id, nextval('awa.jobs_id_seq')) AS id,
           u.ord,
           coalesce(u.kind, :kind::text) AS kind,
           coalesce(u.queue, :queue::text) AS queue,
           u.args,
           coalesce(u.priority, :priority::smallint) AS priority,
           coalesce(u.max_attempts, :max_attempts::smallint) AS max_attempts,
           coalesce(u.run_at, :run_at::timestamptz,
                    now() + make_interval(secs => coalesce(u.delay, :delay::float8))) AS run_at,
           coalesce(u.metadata, :metadata::jsonb) AS metadata,
           coalesce(u.tags::text[], :tags::text[]) AS tags,
           u.unique_key,
           u.unique_states::bit(8) AS unique_states
    FROM ROWS FROM (
        jsonb_array_elements(:args::jsonb),
        unnest(:kinds::text[]),
        unnest(:queues::text[]),
        unnest(:priorities::smallint[]),
        unnest(:max_attempts_each::smallint[]),
        unnest(:run_ats::timestamptz[]),
        unnest(:delays::float8[]),
        jsonb_array_elements(:metadata_each::jsonb),
        unnest(:tags_each::text[]),
        unnest(:unique_keys::bytea[]),
        unnest(:unique_states_each::text[]),
        unnest(:ids::bigint[])
    ) WITH ORDINALITY AS u (
        args, kind, queue, priority, max_attempts, run_at, delay, metadata, tags, unique_key,
        unique_states, given_id, ord
    )
    WHERE (SELECT :engine.*) = 'canonical'
), claimed AS (
    INSERT INTO awa.job_unique_claims (unique_key, job_id)
    SELECT unique_key, id
    FROM input
    WHERE awa.job_state_in_bitmask(
              unique_states,
              (CASE WHEN run_at > now() THEN 'scheduled' ELSE 'available' END)::awa.job_state
          )
      AND unique_key IS NOT NULL
      AND (SELECT bool_or(run_at > now()) AND NOT bool_and(coalesce(run_at > now(), false))
           FROM input)
    ORDER BY unique_key, id
    ON CONFLICT (unique_key) DO NOTHING
), hot AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags,
        unique_key, unique_states
    )
    SELECT id, kind, queue, args, 'available', priority, max_attempts, coalesce(run_at, now()),
           metadata, tags, unique_key, unique_states
    FROM input
    WHERE run_at IS NULL OR run_at <= now()
    ORDER BY unique_key, id
), cold AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags,
        unique_key, unique_states
    )
    SELECT id, kind, queue, args, 'scheduled', priority, max_attempts, run_at, metadata, tags,
           unique_key, unique_states
    FROM input
    WHERE run_at > now()
    ORDER BY unique_key, id
)
-- One row with an array is read in a fifth of the time of one row per id.
SELECT array_agg(id ORDER BY ord) AS ids, now() AS created_at
FROM input
HAVING count(*) > 0

-- name: insert_available
-- The same for jobs of one kind that may run now and have no unique key: one table, no join.
-- A single job costs a sixth less, a thousand of them a twentieth.
WITH hot AS (
    INSERT INTO awa.jobs_hot (
        kind, queue, args, priority, max_attempts, run_at, metadata, tags
    )
    SELECT :kind::text, :queue::text, args, :priority::smallint, :max_attempts::smallint, now(),
           :metadata::jsonb, :tags::text[]
    FROM jsonb_array_elements(:args::jsonb) AS a(args)
    WHERE (SELECT :engine.*) = 'canonical'
    RETURNING id
)
SELECT array_agg(id ORDER BY id) AS ids, now() AS created_at
FROM hot
HAVING count(*) > 0

-- name: insert_one
-- The same for one job, without an array.
INSERT INTO awa.jobs_hot (kind, queue, args, priority, max_attempts, run_at, metadata, tags)
SELECT :kind::text, :queue::text, :args::jsonb, :priority::smallint, :max_attempts::smallint, now(),
       :metadata::jsonb, :tags::text[]
WHERE (SELECT :engine.*) = 'canonical'
RETURNING ARRAY[id] AS ids, now() AS created_at

-- name: insert_unique_jobs
-- Insert the jobs whose unique key is free; the others are returned without an id.  Claims are made
-- first, in key order, so that two writers neither deadlock nor both insert; the trigger then finds
-- the claim of the same job.  A job whose first state does not block its key needs no claim.
WITH input AS MATERIALIZED (
    SELECT coalesce(u.given_id, nextval('awa.jobs_id_seq')) AS id, u.args, u.kind, u.queue,
           u.priority, u.max_attempts, t.run_at, u.metadata, u.tags, u.unique_key, u.unique_states,
           u.ord,
           (CASE WHEN t.run_at > now() THEN 'scheduled' ELSE 'available' END)::awa.job_state AS state
    FROM ROWS FROM (
        jsonb_array_elements(:args::jsonb),
        unnest(:kinds::text[]),
        unnest(:queues::text[]),
        unnest(:priorities::smallint[]),
        unnest(:max_attempts_each::smallint[]),
        unnest(:run_ats::timestamptz[]),
        unnest(:delays::float8[]),
        jsonb_array_elements(:metadata_each::jsonb),
        unnest(:tags_each::text[]),
        unnest(:unique_keys::bytea[]),
        unnest(:unique_states_each::text[]),
        unnest(:ids::bigint[])
    ) WITH ORDINALITY AS u (
        args, kind, queue, priority, max_attempts, run_at, delay, metadata, tags, unique_key,
        unique_states, given_id, ord
    )
    CROSS JOIN LATERAL (
        SELECT coalesce(u.run_at, now() + make_interval(secs => u.delay)) AS run_at
    ) AS t
    WHERE (SELECT :engine.*) = 'canonical'
), claiming AS MATERIALIZED (
    SELECT DISTINCT ON (unique_key) unique_key, id
    FROM input
    WHERE awa.job_state_in_bitmask(unique_states::bit(8), state)
    ORDER BY unique_key, ord
), claimed AS (
    INSERT INTO awa.job_unique_claims (unique_key, job_id)
    SELECT unique_key, id FROM claiming ORDER BY unique_key
    ON CONFLICT (unique_key) DO NOTHING
    RETURNING job_id
), winner AS MATERIALIZED (
    SELECT * FROM input
    WHERE id IN (SELECT job_id FROM claimed)
       OR NOT coalesce(awa.job_state_in_bitmask(unique_states::bit(8), state), false)
), hot AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags,
        unique_key, unique_states
    )
    SELECT id, kind, queue, args, state, priority, max_attempts, coalesce(run_at, now()),
           metadata, tags::text[], unique_key, unique_states::bit(8)
    FROM winner WHERE state = 'available'
    ORDER BY unique_key, id
), cold AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, max_attempts, run_at, metadata, tags,
        unique_key, unique_states
    )
    SELECT id, kind, queue, args, state, priority, max_attempts, run_at,
           metadata, tags::text[], unique_key, unique_states::bit(8)
    FROM winner WHERE state = 'scheduled'
    ORDER BY unique_key, id
)
SELECT input.ord - 1 AS place, winner.id, now() AS created_at
FROM input
LEFT JOIN winner ON winner.id = input.id
ORDER BY input.ord

-- name: unique_holders
-- The jobs that hold unique keys, and the time.  No lock; index idx_awa_jobs_unique.
SELECT c.unique_key, :job.*, now()
FROM awa.job_unique_claims AS c
JOIN awa.jobs AS j ON j.id = c.job_id
WHERE c.unique_key = ANY(:keys::bytea[])

-- name: replace_job
-- Replace args and run_at of a job that waits for a run.  It keeps its id, key and attempts, and
-- moves between the tables if its state changes.  Locks the row; primary keys.
WITH hot AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot WHERE id = :id::bigint AND state = 'available' FOR UPDATE
), stays_hot AS (
    UPDATE awa.jobs_hot AS j SET args = :args::jsonb, run_at = coalesce(:run_at::timestamptz, now())
    FROM hot
    WHERE j.id = hot.id AND coalesce(:run_at::timestamptz, now()) <= now()
    RETURNING j.*
), leaves_hot AS (
    DELETE FROM awa.jobs_hot AS j USING hot
    WHERE j.id = hot.id AND :run_at::timestamptz > now()
    RETURNING j.*
), stays_cold AS (
    UPDATE awa.scheduled_jobs
    SET args = :args::jsonb, run_at = :run_at::timestamptz, state = 'scheduled'
    WHERE id = :id::bigint AND :run_at::timestamptz > now()
    RETURNING *
), leaves_cold AS (
    DELETE FROM awa.scheduled_jobs
    WHERE id = :id::bigint AND coalesce(:run_at::timestamptz, now()) <= now()
    RETURNING *
), to_cold AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, :args::jsonb, 'scheduled', priority, attempt, max_attempts,
           :run_at::timestamptz, attempted_at, finalized_at, created_at, errors, metadata, tags,
           unique_key, unique_states, run_lease, progress
    FROM leaves_hot
    RETURNING *
), to_hot AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, :args::jsonb, 'available', priority, attempt, max_attempts, now(),
           attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
           unique_states, run_lease, progress
    FROM leaves_cold
    RETURNING *
), changed AS (
    SELECT * FROM stays_hot
    UNION ALL SELECT * FROM stays_cold
    UNION ALL SELECT * FROM to_cold
    UNION ALL SELECT * FROM to_hot
)
SELECT :job.*
FROM changed

-- name: find_by_unique_key
-- The oldest job with a unique key that has not ended.  Reads both tables: a job whose state does
-- not block its key has no claim.
SELECT id FROM awa.jobs
WHERE unique_key = :key::bytea AND state NOT IN ('completed', 'failed', 'cancelled')
ORDER BY id
LIMIT 1

-- name: insert_jobs_compat
-- Insert by the function that every storage engine supports: one call per job.
SELECT array_agg(j.id ORDER BY u.ord) AS ids, now() AS created_at
FROM ROWS FROM (
    jsonb_array_elements(:args::jsonb),
    unnest(:kinds::text[]),
    unnest(:queues::text[]),
    unnest(:priorities::smallint[]),
    unnest(:max_attempts_each::smallint[]),
    unnest(:run_ats::timestamptz[]),
    unnest(:delays::float8[]),
    jsonb_array_elements(:metadata_each::jsonb),
    unnest(:tags_each::text[]),
    unnest(:unique_keys::bytea[]),
    unnest(:unique_states_each::text[])
) WITH ORDINALITY AS u (
    args, kind, queue, priority, max_attempts, run_at, delay, metadata, tags,
    unique_key, unique_states, ord
)
CROSS JOIN LATERAL (
    SELECT coalesce(u.run_at, :run_at::timestamptz,
                    now() + make_interval(secs => coalesce(u.delay, :delay::float8))) AS run_at
) AS t
CROSS JOIN LATERAL awa.insert_job_compat(
    coalesce(u.kind, :kind::text),
    coalesce(u.queue, :queue::text),
    u.args,
    (CASE WHEN t.run_at > now()
          THEN 'scheduled' ELSE 'available' END)::awa.job_state,
    coalesce(u.priority, :priority::smallint),
    coalesce(u.max_attempts, :max_attempts::smallint),
    t.run_at,
    coalesce(u.metadata, :metadata::jsonb),
    coalesce(u.tags::text[], :tags::text[]),
    u.unique_key,
    u.unique_states::bit(8)
) AS j

-- name: reserve_ids
-- Ids for a COPY in this transaction.  The share lock on the singleton row blocks a storage
-- transition until the transaction ends; no row means that another engine takes the writes.
SELECT array_agg(nextval('awa.jobs_id_seq')) AS ids, now() AS created_at
FROM (
    SELECT awa.active_storage_engine() AS engine
    FROM awa.storage_transition_state
    WHERE singleton
    FOR SHARE
) AS gate, generate_series(1, :count::int)
WHERE gate.engine = 'canonical'
HAVING count(*) > 0

-- name: copy_available
-- Insert jobs that may run now, with reserved ids.  Fires the notify trigger once.
COPY awa.jobs_hot (id, kind, queue, args, priority, max_attempts, run_at, metadata, tags)
FROM STDIN

-- name: copy_scheduled
-- Insert scheduled jobs, with reserved ids.
COPY awa.scheduled_jobs (id, kind, queue, args, priority, max_attempts, run_at, metadata, tags)
FROM STDIN

-- name: get_job
-- One job by id, from either table through the view.  No lock; both primary keys.
SELECT :job.*
FROM awa.jobs
WHERE id = :id::bigint

-- name: get_jobs
-- Several jobs by id.  No lock; both primary keys.
SELECT :job.*
FROM awa.jobs
WHERE id = ANY(:ids::bigint[])
ORDER BY id

-- name: list_jobs
-- A page of jobs, newest id first, before a given id.  No lock; walks the primary keys backwards.
SELECT :job.*
FROM awa.jobs
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (:state::text IS NULL OR state = :state::text::awa.job_state)
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
ORDER BY id DESC
LIMIT :limit::int

-- name: list_tagged_jobs
-- The same for one tag.  No lock.  Looks for a page among the last 100,000 ids, and else reads all
-- jobs with the tag: index idx_awa_jobs_hot_tags.
WITH top AS MATERIALIZED (
    SELECT coalesce(:before_id::bigint,
                    greatest((SELECT max(id) FROM awa.jobs_hot),
                             (SELECT max(id) FROM awa.scheduled_jobs), 0) + 1) AS id
), near AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT * FROM awa.jobs
        WHERE id < (SELECT id FROM top) AND id >= (SELECT id FROM top) - 100000
        ORDER BY id DESC
        OFFSET 0
    ) AS jobs
    WHERE (:state::text IS NULL OR state = :state::text::awa.job_state)
      AND (:kind::text IS NULL OR kind = :kind::text)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND tags @> ARRAY[:tag::text]
    LIMIT :limit::int
)
SELECT :job.*
FROM (
    SELECT * FROM near WHERE (SELECT count(*) FROM near) = :limit::int
    UNION ALL
    SELECT * FROM awa.jobs
    WHERE (SELECT count(*) FROM near) < :limit::int
      AND id < (SELECT id FROM top)
      AND (:state::text IS NULL OR state = :state::text::awa.job_state)
      AND (:kind::text IS NULL OR kind = :kind::text)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND tags @> ARRAY[:tag::text] AND tags <> '{}'
) AS jobs
ORDER BY id DESC
LIMIT :limit::int

-- name: retry_jobs
-- Make jobs available now.  failed, cancelled and waiting_external start again with attempt 0;
-- retryable jobs skip the rest of their delay and keep their attempts.  Errors and progress are
-- kept, the journal of callbacks is not.  Locks rows in id order.  The update of a hot row fires no
-- insert trigger, so the notification is sent here.  Jobs of workflows are noted there.
WITH hot_target AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE id = ANY(:ids::bigint[]) AND state IN ('failed', 'cancelled', 'waiting_external')
    ORDER BY id
    FOR UPDATE
), hot AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'available', attempt = 0, run_at = now(), finalized_at = NULL,
        heartbeat_at = NULL, deadline_at = NULL, callback_id = NULL, callback_timeout_at = NULL,
        callback_filter = NULL, callback_on_complete = NULL, callback_on_fail = NULL,
        callback_transform = NULL,
        metadata = metadata - '{_awa_callbacks,_awa_callback_result,_awa_reenter,_awa_crashes}'::text[]
    FROM hot_target AS t
    WHERE j.id = t.id
    RETURNING j.*
), gone AS (
    DELETE FROM awa.scheduled_jobs
    WHERE id = ANY(:ids::bigint[]) AND state = 'retryable'
    RETURNING *
), moved AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        created_at, errors, metadata, tags, unique_key, unique_states, run_lease, progress
    )
    SELECT id, kind, queue, args, 'available', priority, attempt, max_attempts, now(),
           attempted_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
           progress
    FROM gone
    RETURNING *
), changed AS (
    SELECT * FROM hot UNION ALL SELECT * FROM moved
), notified AS MATERIALIZED (
    SELECT pg_notify('awa:' || queue, '')
    FROM (SELECT DISTINCT queue FROM hot WHERE octet_length(queue) <= 59) AS queues
), noted AS (
    INSERT INTO awa.workflow_events (workflow_id, job_ids)
    SELECT workflow_id, array_agg(id)
    FROM (SELECT id, (metadata ->> '_awa_workflow')::bigint AS workflow_id FROM changed
          WHERE metadata ->> '_awa_workflow' ~ '^[1-9][0-9]{0,17}$') AS of_workflows
    GROUP BY workflow_id
)
SELECT :job.*
FROM changed
WHERE (SELECT count(*) FROM notified) >= 0 -- a CTE that is not read does not run
ORDER BY id

-- name: cancel_jobs
-- Cancel jobs that have not ended.  Rows of the cold table move to the hot one.  A running
-- attempt is notified on awa:cancel, and cannot finish: its lease matches no row.  Locks rows in id
-- order.
WITH hot_target AS MATERIALIZED (
    SELECT id, state, run_lease FROM awa.jobs_hot
    WHERE id = ANY(:ids::bigint[]) AND state IN ('available', 'running', 'waiting_external')
    ORDER BY id
    FOR UPDATE
), hot AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'cancelled', finalized_at = now(), callback_id = NULL,
        callback_timeout_at = NULL, callback_filter = NULL, callback_on_complete = NULL,
        callback_on_fail = NULL, callback_transform = NULL
    FROM hot_target AS t
    WHERE j.id = t.id
    RETURNING j.*
), gone AS (
    DELETE FROM awa.scheduled_jobs WHERE id = ANY(:ids::bigint[]) RETURNING *
), moved AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, args, 'cancelled', priority, attempt, max_attempts, run_at,
           attempted_at, now(), created_at, errors, metadata, tags, unique_key, unique_states,
           run_lease, progress
    FROM gone
    RETURNING *
), changed AS (
    SELECT * FROM hot UNION ALL SELECT * FROM moved
), counted AS (
    INSERT INTO awa.uncounted_ends (queue, kind, outcome, ends)
    SELECT queue, kind, 'cancelled', count(*) FROM changed GROUP BY queue, kind
), notified AS MATERIALIZED (
    SELECT pg_notify(
        'awa:cancel', json_build_object('job_id', id, 'run_lease', run_lease)::text)
    FROM hot_target
    WHERE state IN ('running', 'waiting_external')
)
SELECT :job.*
FROM changed
WHERE (SELECT count(*) FROM notified) >= 0 -- a CTE that is not read does not run
ORDER BY id

-- name: failed_ids
-- Ids of failed jobs of one kind or one queue, ascending.  Index awa_jobs_hot_unsuccessful.
SELECT id FROM awa.jobs_hot
WHERE state = 'failed'
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
ORDER BY id

-- name: discard_failed
-- Delete the failed jobs of a kind, with their logs; their unique claims go with them (trigger).
WITH gone AS (
    DELETE FROM awa.jobs_hot WHERE state = 'failed' AND kind = :kind::text RETURNING id
), logs AS (
    DELETE FROM awa.job_logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))
)
SELECT count(*) AS deleted FROM gone

-- name: count_drainable
-- How many jobs of a queue are neither running nor ended.
SELECT (SELECT count(*) FROM awa.jobs_hot
        WHERE queue = :queue::text AND state IN ('available', 'waiting_external'))
       + (SELECT count(*) FROM awa.scheduled_jobs WHERE queue = :queue::text)

-- name: drainable_ids
-- Ids of the jobs of a queue that are neither running nor ended, ascending.
SELECT id FROM awa.jobs_hot
WHERE queue = :queue::text AND state IN ('available', 'waiting_external')
UNION ALL
SELECT id FROM awa.scheduled_jobs WHERE queue = :queue::text
ORDER BY id
