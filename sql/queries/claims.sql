-- The worker's hot path: claim, heartbeat, finish.  Every statement that ends or touches an
-- attempt matches id, state running and run_lease; a row that does not match no longer belongs to
-- the attempt.  Ids arrive sorted, and rows are locked in that order.
--
-- Conditions on the state are written so that exactly one index fits each, whatever the statistics
-- say: they are always stale on a queue.  Claims use BETWEEN 'available' AND 'available', the
-- predicate of awa_jobs_hot_claim_by_kind.  Rows that picked has locked are not tested again.
-- Guards are written BETWEEN 'running' AND 'running' so that the planner cannot use the index of
-- running jobs: it would scan that index once and compare every running job with every id (seen:
-- 200 ms for 1,000 ids), where the primary key is 1,000 lookups (7 ms).
--
-- Rows are changed by WHERE id = ANY (ARRAY(SELECT ...)), never by a join: the planner takes the
-- array for ten ids, and looks them up by primary key.  A join it may turn into a scan of the whole
-- table (seen: planned while the table was empty, 4,800 jobs a second instead of 30,000).  The
-- values of an id are found by its place among the sorted ids (width_bucket, a binary search).
--
-- A lease is a number that no other claim has; all rows of a claim share it.  It names the process
-- that has claimed: awa_lib/ops/leases.py.

-- name: claim_kind
-- Claim jobs of one kind: most urgent first, oldest first.  Locks only what it takes
-- (SKIP LOCKED).  Index awa_jobs_hot_claim_by_kind.
WITH picked AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE state BETWEEN 'available' AND 'available'
      AND queue = :queue::text AND kind = :kind::text AND run_at <= now()
      AND id <> ALL (:passing::bigint[])
      AND NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = :queue::text AND m.paused)
    ORDER BY priority, run_at, id
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'running', attempt = attempt + 1, run_lease = :lease::bigint,
        attempted_at = now(), heartbeat_at = now(),
        deadline_at = now() + make_interval(secs => :deadline_seconds::float8)
    WHERE j.id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING j.*
)
SELECT :claimed_job.*
FROM claimed
ORDER BY priority, claimed.run_at, id

-- name: claim_kinds
-- The same for several kinds.  The head of each kind is read from the same index without locks, so
-- other kinds are never read; the first of all are then locked, and tested again under the lock.
-- Twice as many candidates as needed leave room for another worker that claims at the same moment.
-- If even those are locked, the unlocked jobs behind them are claimed.
WITH heads AS MATERIALIZED (
    SELECT h.id, h.priority, h.run_at
    FROM unnest(:kinds::text[]) AS k(kind)
    CROSS JOIN LATERAL (
        SELECT id, priority, run_at FROM awa.jobs_hot
        WHERE state BETWEEN 'available' AND 'available'
          AND queue = :queue::text AND kind = k.kind AND run_at <= now()
          AND id <> ALL (:passing::bigint[])
        ORDER BY priority, run_at, id
        LIMIT :limit::int * 2
    ) AS h
    WHERE NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = :queue::text AND m.paused)
    ORDER BY h.priority, h.run_at, h.id
    LIMIT :limit::int * 2
), picked AS MATERIALIZED (
    -- Candidates come in order; the subquery locks row by row by primary key, up to the limit.
    SELECT j.id FROM heads
    CROSS JOIN LATERAL (
        SELECT id FROM awa.jobs_hot
        WHERE id = heads.id AND state::text = 'available'
          AND queue = :queue::text AND kind = ANY (:kinds::text[]) AND run_at <= now()
        FOR UPDATE SKIP LOCKED
    ) AS j
    LIMIT :limit::int
), behind AS MATERIALIZED (
    SELECT f.id
    FROM unnest(:kinds::text[]) AS k(kind)
    CROSS JOIN LATERAL (
        SELECT id, priority, run_at FROM awa.jobs_hot
        WHERE state BETWEEN 'available' AND 'available'
          AND queue = :queue::text AND kind = k.kind AND run_at <= now()
          AND id <> ALL (:passing::bigint[]) AND id <> ALL (ARRAY(SELECT id FROM picked))
        ORDER BY priority, run_at, id
        LIMIT :limit::int
        FOR UPDATE SKIP LOCKED
    ) AS f
    WHERE (SELECT count(*) FROM heads) = :limit::int * 2
      AND (SELECT count(*) FROM picked) < :limit::int
    ORDER BY f.priority, f.run_at, f.id
    LIMIT :limit::int - (SELECT count(*) FROM picked)
), claimed AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'running', attempt = attempt + 1, run_lease = :lease::bigint,
        attempted_at = now(), heartbeat_at = now(),
        deadline_at = now() + make_interval(secs => :deadline_seconds::float8)
    WHERE j.id = ANY (ARRAY(SELECT id FROM picked UNION ALL SELECT id FROM behind))
    RETURNING j.*
)
SELECT :claimed_job.*
FROM claimed
ORDER BY priority, claimed.run_at, id

-- name: claim_kind_from
-- The same for one kind, beginning where an earlier claim has ended (awa_lib/runtime/marks.py): the
-- entries of claimed rows before that are not read.  A leg is a priority from a time on, or a job
-- before that time by its primary key; the most urgent come first, and the outer limit locks only
-- what is taken.
WITH picked AS MATERIALIZED (
    SELECT f.id
    FROM unnest(:priorities::smallint[], :ats::timestamptz[], :late::bigint[])
        AS leg (priority, at, id)
    CROSS JOIN LATERAL (
        SELECT late.id FROM (
            SELECT id FROM awa.jobs_hot
            WHERE id = leg.id AND state::text = 'available'
              AND queue = :queue::text AND kind = :kind::text AND priority = leg.priority
              AND run_at <= now() AND id <> ALL (:passing::bigint[])
            FOR UPDATE SKIP LOCKED
        ) AS late
        UNION ALL
        SELECT ahead.id FROM (
            SELECT id FROM awa.jobs_hot
            WHERE state BETWEEN 'available' AND 'available' AND leg.id IS NULL
              AND queue = :queue::text AND kind = :kind::text AND priority = leg.priority
              AND run_at > leg.at - interval '100 milliseconds' AND run_at <= now()
              AND id <> ALL (:passing::bigint[])
            ORDER BY run_at, id
            LIMIT :limit::int
            FOR UPDATE SKIP LOCKED
        ) AS ahead
    ) AS f
    WHERE NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = :queue::text AND m.paused)
    LIMIT :limit::int
), claimed AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'running', attempt = attempt + 1, run_lease = :lease::bigint,
        attempted_at = now(), heartbeat_at = now(),
        deadline_at = now() + make_interval(secs => :deadline_seconds::float8)
    WHERE j.id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING j.*
)
SELECT :claimed_job.*
FROM claimed
ORDER BY priority, claimed.run_at, id

-- name: claim_kinds_from
-- The same for several kinds: the legs give the heads of claim_kinds.
WITH heads AS MATERIALIZED (
    SELECT h.id, h.priority, h.run_at
    FROM unnest(:each::text[], :priorities::smallint[], :ats::timestamptz[], :late::bigint[])
        AS leg (kind, priority, at, id)
    CROSS JOIN LATERAL (
        SELECT id, leg.priority, run_at FROM awa.jobs_hot
        WHERE id = leg.id AND state::text = 'available'
          AND queue = :queue::text AND kind = leg.kind AND priority = leg.priority
          AND run_at <= now() AND id <> ALL (:passing::bigint[])
        UNION ALL
        SELECT ahead.id, leg.priority, ahead.run_at FROM (
            SELECT id, run_at FROM awa.jobs_hot
            WHERE state BETWEEN 'available' AND 'available' AND leg.id IS NULL
              AND queue = :queue::text AND kind = leg.kind AND priority = leg.priority
              AND run_at > leg.at - interval '100 milliseconds' AND run_at <= now()
              AND id <> ALL (:passing::bigint[])
            ORDER BY run_at, id
            LIMIT :limit::int * 2
        ) AS ahead
    ) AS h
    WHERE NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = :queue::text AND m.paused)
    ORDER BY h.priority, h.run_at, h.id
    LIMIT :limit::int * 2
), picked AS MATERIALIZED (
    SELECT j.id FROM heads
    CROSS JOIN LATERAL (
        SELECT id FROM awa.jobs_hot
        WHERE id = heads.id AND state::text = 'available'
          AND queue = :queue::text AND kind = ANY (:kinds::text[]) AND run_at <= now()
        FOR UPDATE SKIP LOCKED
    ) AS j
    LIMIT :limit::int
), claimed AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'running', attempt = attempt + 1, run_lease = :lease::bigint,
        attempted_at = now(), heartbeat_at = now(),
        deadline_at = now() + make_interval(secs => :deadline_seconds::float8)
    WHERE j.id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING j.*
)
SELECT :claimed_job.*
FROM claimed
ORDER BY priority, claimed.run_at, id

-- name: late_jobs
-- The jobs that can be claimed behind the beginnings of claim_kind_from and claim_kinds_from, the
-- oldest first, and where those may begin from now on: nothing that can be claimed is passed, and
-- nothing of the last second.  Where a thousand are behind, claims begin at the first of them.  A
-- beginning in the future, after the clock was set back, is moved to now.  No lock: locked jobs
-- count.  Index awa_jobs_hot_claim_by_kind, from its start.  A paused queue has no rows here.
SELECT leg.kind, leg.priority,
       CASE WHEN cardinality(late.ids) < 1000
            THEN greatest(leg.at, least(ahead.first, now() - interval '1 second'))
            ELSE late.first END::text AS begin,
       CASE WHEN cardinality(late.ids) < 1000 THEN late.ids ELSE '{}' END AS ids
FROM (
    SELECT given.kind, given.priority, least(given.at, now()) AS at
    FROM unnest(:kinds::text[], :priorities::smallint[], :ats::timestamptz[])
        AS given (kind, priority, at)
) AS leg
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(j.id), '{}') AS ids, min(j.run_at) AS first
    FROM (
        SELECT id, run_at FROM awa.jobs_hot
        WHERE state BETWEEN 'available' AND 'available'
          AND queue = :queue::text AND kind = leg.kind AND priority = leg.priority
          AND run_at <= leg.at - interval '100 milliseconds' AND id <> ALL (:passing::bigint[])
        ORDER BY run_at, id
        LIMIT 1000
    ) AS j
) AS late
CROSS JOIN LATERAL (
    SELECT (
        SELECT run_at FROM awa.jobs_hot
        WHERE state BETWEEN 'available' AND 'available'
          AND queue = :queue::text AND kind = leg.kind AND priority = leg.priority
          AND run_at > leg.at - interval '100 milliseconds' AND run_at <= now()
          AND id <> ALL (:passing::bigint[])
        ORDER BY run_at, id
        LIMIT 1
    ) AS first
) AS ahead
WHERE NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = :queue::text AND m.paused)

-- name: claim_limited
-- The same for a queue with fleet-wide limits.  Locks the queue's row in awa.queue_policies until
-- the commit, and what it takes.  Indexes awa_jobs_hot_running_by_queue, awa_jobs_hot_claim_by_kind
-- and, where concurrency keys fill the head of the queue, awa_jobs_hot_claim_by_key.  With only, it
-- claims this job, if the limits allow it.
SELECT :claimed_job.*
FROM awa.claim_limited(
    :queue::text, :kinds::text[], :limit::int, :deadline_seconds::float8, :lease::bigint,
    :passing::bigint[], :only::bigint) AS claimed
ORDER BY priority, claimed.run_at, id

-- name: queues_with_jobs
-- The queues that have a job to claim.  No lock; awa_jobs_hot_claim_by_kind, whose order keeps the
-- planner from any other index.
SELECT DISTINCT w.queue
FROM unnest(:queues::text[]) AS w (queue)
CROSS JOIN unnest(:kinds::text[]) AS k (kind)
CROSS JOIN LATERAL (
    SELECT FROM awa.jobs_hot
    WHERE state BETWEEN 'available' AND 'available'
      AND queue = w.queue AND kind = k.kind AND run_at <= now()
    ORDER BY priority, run_at, id
    LIMIT 1
) AS j
WHERE NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = w.queue AND m.paused)

-- name: claim_one
-- Claim one job by its id, if it is still available and no other session has locked it.  Primary
-- key.
WITH picked AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE id = :only::bigint AND state::text = 'available'
      AND queue = :queue::text AND kind = ANY (:kinds::text[]) AND run_at <= now()
      AND NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = :queue::text AND m.paused)
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'running', attempt = attempt + 1, run_lease = :lease::bigint,
        attempted_at = now(), heartbeat_at = now(),
        deadline_at = now() + make_interval(secs => :deadline_seconds::float8)
    WHERE j.id = (SELECT id FROM picked)
    RETURNING j.*
)
SELECT :claimed_job.*
FROM claimed

-- name: candidates
-- Return the ids of jobs that can be claimed, in run order; rows locked by other sessions are left
-- out.  Its own locks end with the statement.  Index awa_jobs_hot_claim_by_kind.
SELECT f.id
FROM unnest(:kinds::text[]) AS k(kind)
CROSS JOIN LATERAL (
    SELECT id, priority, run_at FROM awa.jobs_hot
    WHERE state BETWEEN 'available' AND 'available'
      AND queue = :queue::text AND kind = k.kind AND run_at <= now()
      AND id <> ALL (:passing::bigint[])
    ORDER BY priority, run_at, id
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
) AS f
WHERE NOT EXISTS (SELECT 1 FROM awa.queue_meta AS m WHERE m.queue = :queue::text AND m.paused)
ORDER BY f.priority, f.run_at, f.id
LIMIT :limit::int

-- name: candidates_limited
-- The same within the limits of the queue.  Locks as claim_limited, and changes no job.
SELECT id
FROM awa.claim_limited(
    :queue::text, :kinds::text[], :limit::int, NULL, NULL, :passing::bigint[], NULL) AS found
ORDER BY priority, found.run_at, id

-- name: hand_back_claim
-- Hand back the jobs of a claim whose result never arrived, without counting the attempt; returns
-- their ids.  A range of one queue instead of an equality keeps the plan on
-- awa_jobs_hot_running_by_queue whatever the statistics say of queues and states; with an order by
-- id the planner would scan the primary key.
WITH held AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE state = 'running'
      AND queue BETWEEN (SELECT :queue::text) AND (SELECT :queue::text)
      AND run_lease = :lease::bigint AND id <> ALL (:keep::bigint[])
    FOR UPDATE SKIP LOCKED
), returned AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'available', attempt = greatest(j.attempt - 1, 0),
        heartbeat_at = NULL, deadline_at = NULL
    WHERE j.id = ANY (ARRAY(SELECT id FROM held))
    RETURNING j.id
), notified AS MATERIALIZED (
    SELECT pg_notify('awa:' || :queue::text, '')
    WHERE EXISTS (SELECT FROM held) AND octet_length(:queue::text) <= 59
)
SELECT id FROM returned WHERE (SELECT count(*) FROM notified) >= 0 ORDER BY id

-- name: hold_attempts
-- Lock the rows of running attempts that no other session has locked.  Returns the ids whose
-- attempts still own their job, and whether each is locked now.  Ids and leases are sorted by id.
WITH held AS MATERIALIZED (
    SELECT j.id FROM awa.jobs_hot AS j
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state BETWEEN 'running' AND 'running'
    ORDER BY j.id
    FOR UPDATE SKIP LOCKED
)
SELECT j.id, j.id IN (SELECT id FROM held) AS held
FROM awa.jobs_hot AS j
WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
  AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
  AND j.state BETWEEN 'running' AND 'running'

-- name: written_ends
-- Return the rows that these ended attempts left, in any of the tables, and those that were claimed
-- again since.  The error is the one that came next to those of the claim (known of them): an end
-- that was written put it there.  No lock; primary keys.  Ids, leases and counts are sorted by id.
SELECT id, state::text AS state, run_lease AS lease,
       errors[(:known::int[])[width_bucket(id, :ids::bigint[])] + 1] ->> 'error' AS error
FROM awa.jobs_hot
WHERE id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
  AND (state::text <> 'running'
       OR run_lease <> (:leases::bigint[])[width_bucket(id, :ids::bigint[])])
UNION ALL
SELECT id, state::text, run_lease,
       errors[(:known::int[])[width_bucket(id, :ids::bigint[])] + 1] ->> 'error'
FROM awa.scheduled_jobs
WHERE id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
UNION ALL
SELECT id, state::text, run_lease,
       errors[(:known::int[])[width_bucket(id, :ids::bigint[])] + 1] ->> 'error'
FROM awa.dead_letters
WHERE id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))

-- name: heartbeat
-- Renew the leases of running attempts; returns the ids that these attempts no longer own.  The row
-- is updated in place (no index holds heartbeat_at).
WITH beat AS (
    UPDATE awa.jobs_hot AS j
    SET heartbeat_at = now()
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state BETWEEN 'running' AND 'running'
    RETURNING j.id
)
SELECT i.id FROM unnest(:ids::bigint[]) AS i(id) EXCEPT SELECT id FROM beat

-- name: write_progress
-- Write progress of running attempts, and renew their leases; returns the ids that these attempts
-- no longer own.
WITH beat AS (
    UPDATE awa.jobs_hot AS j
    SET heartbeat_at = now(),
        progress = nullif(
            :progress::jsonb -> (width_bucket(j.id, :ids::bigint[]) - 1), 'null'::jsonb)
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state BETWEEN 'running' AND 'running'
    RETURNING j.id
)
SELECT i.id FROM unnest(:ids::bigint[]) AS i(id) EXCEPT SELECT id FROM beat

-- name: finish_completed
-- Complete attempts that succeeded; returns the ids of stale attempts, which change nothing.
WITH done AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'completed', finalized_at = now(), progress = NULL
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state BETWEEN 'running' AND 'running'
    RETURNING j.id
)
SELECT i.id FROM unnest(:ids::bigint[]) AS i(id) EXCEPT SELECT id FROM done

-- name: finish_completed_with_extras
-- The same, with the results of some of them, and notes of the ends of tasks of workflows (flows has
-- 0 for other jobs); attempts that were stale write neither.
-- An earlier result of a job is replaced.  An array instead of a join, which is a nested loop in a
-- worker's session and would read the values again for each job (seen: 10 s for 900 of 9 kB).
WITH done AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'completed', finalized_at = now(), progress = NULL
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state BETWEEN 'running' AND 'running'
    RETURNING j.id, (:flows::bigint[])[width_bucket(j.id, :ids::bigint[])] AS flow
), noted AS (
    INSERT INTO awa.workflow_events (workflow_id, job_ids)
    SELECT flow, array_agg(id) FROM done WHERE flow > 0 GROUP BY flow ORDER BY flow
), kept AS (
    INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)
    SELECT r.id, r.value::jsonb, octet_length(r.value), e.expires_at, e.expires_at
    FROM unnest(:result_ids::bigint[], :results::text[], :ttls::float8[]) AS r (id, value, ttl)
    CROSS JOIN LATERAL (SELECT now() + make_interval(secs => r.ttl)) AS e (expires_at)
    WHERE r.id = ANY (ARRAY(SELECT id FROM done))
    ON CONFLICT (job_id) DO UPDATE
    SET value = excluded.value, size_bytes = excluded.size_bytes, written_at = now(),
        expires_at = excluded.expires_at, purge_at = excluded.purge_at
)
SELECT i.id FROM unnest(:ids::bigint[]) AS i(id) EXCEPT SELECT id FROM done

-- name: finish_attempts
-- End attempts that did not succeed; returns the ids of stale attempts, which change nothing.
-- target: retryable and scheduled move to the cold table; failed, cancelled and available
-- (handed back) stay.  A NULL delay of a retryable job means the backoff of awa 0.5.
-- attempts_back is 1 where the attempt does not count.  waiting_external needs a callback: without
-- it the job fails with the given error, or completes if its answer has already arrived.
-- An attempt that ends by itself deletes its journal of callbacks.
-- Ends of tasks of workflows are noted; flows has 0 for other jobs.
WITH owned AS MATERIALIZED (
    SELECT j.id AS job_id, CASE
        WHEN given.target <> 'waiting_external' OR j.callback_id IS NOT NULL THEN given.target
        WHEN j.metadata ? '_awa_callback_result' THEN 'completed'
        ELSE 'failed' END AS target
    FROM awa.jobs_hot AS j
    CROSS JOIN LATERAL (
        SELECT (:targets::text[])[width_bucket(j.id, :ids::bigint[])] AS target
    ) AS given
    WHERE j.id = ANY (ARRAY(SELECT unnest(:ids::bigint[])))
      AND j.run_lease = (:leases::bigint[])[width_bucket(j.id, :ids::bigint[])]
      AND j.state BETWEEN 'running' AND 'running'
    ORDER BY j.id
    FOR UPDATE OF j
), ended AS (
    UPDATE awa.jobs_hot AS j
    SET finalized_at = now(), (state, errors, progress, metadata) = (
        SELECT goal.target::awa.job_state,
               coalesce(j.errors, '{}') || CASE
                   WHEN given.error <> 'null'::jsonb
                    AND (given.target = goal.target OR goal.target = 'failed')
                   THEN ARRAY[given.error || jsonb_build_object(
                       'attempt', j.attempt, 'started', to_char(
                           j.attempted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
                       'at', to_char(
                           now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))]
                   ELSE '{}' END,
               CASE WHEN goal.target <> 'completed'
                    THEN nullif(given.progress, 'null'::jsonb) END,
               CASE WHEN goal.target = 'completed' THEN j.metadata
                    ELSE j.metadata - '{_awa_callbacks,_awa_reenter}'::text[] END
        FROM (
            SELECT (:targets::text[])[i.place] AS target, :errors::jsonb -> (i.place - 1) AS error,
                   :progress::jsonb -> (i.place - 1) AS progress
            FROM (SELECT width_bucket(j.id, :ids::bigint[]) AS place) AS i
        ) AS given
        CROSS JOIN LATERAL (SELECT CASE
            WHEN given.target <> 'waiting_external' THEN given.target
            WHEN j.metadata ? '_awa_callback_result' THEN 'completed'
            ELSE 'failed' END AS target) AS goal
    )
    WHERE j.id = ANY (ARRAY(
        SELECT job_id FROM owned WHERE target IN ('failed', 'cancelled', 'completed')))
), parked AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'waiting_external', heartbeat_at = NULL, deadline_at = NULL,
        progress = nullif(
            :progress::jsonb -> (width_bucket(j.id, :ids::bigint[]) - 1), 'null'::jsonb),
        metadata = j.metadata || '{"_awa_reenter": true}'
    WHERE j.id = ANY (ARRAY(SELECT job_id FROM owned WHERE target = 'waiting_external'))
), returned AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'available', attempt = greatest(
            j.attempt - (:attempts_back::smallint[])[width_bucket(j.id, :ids::bigint[])], 0),
        heartbeat_at = NULL, deadline_at = NULL,
        progress = nullif(
            :progress::jsonb -> (width_bucket(j.id, :ids::bigint[]) - 1), 'null'::jsonb)
    WHERE j.id = ANY (ARRAY(SELECT job_id FROM owned WHERE target = 'available'))
    RETURNING j.queue
), gone AS (
    DELETE FROM awa.jobs_hot AS j
    WHERE j.id = ANY (ARRAY(SELECT job_id FROM owned WHERE target IN ('retryable', 'scheduled')))
    RETURNING j.*, width_bucket(j.id, :ids::bigint[]) AS place
), moved AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, callback_id,
        callback_timeout_at, callback_filter, callback_on_complete, callback_on_fail,
        callback_transform, run_lease, progress
    )
    SELECT id, kind, queue, args, given.target::awa.job_state, priority,
           greatest(attempt - (:attempts_back::smallint[])[place], 0), max_attempts,
           now() + coalesce(make_interval(secs => (:delays::float8[])[place]),
                            awa.backoff_duration(attempt, max_attempts)),
           attempted_at, CASE WHEN given.target = 'retryable' THEN now() ELSE finalized_at END,
           created_at, coalesce(errors, '{}') || CASE
               WHEN given.error <> 'null'::jsonb
               THEN ARRAY[given.error || jsonb_build_object(
                   'attempt', attempt, 'started', to_char(
                       attempted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
                   'at', to_char(
                       now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))]
               ELSE '{}' END,
           metadata - '{_awa_callbacks,_awa_callback_result,_awa_reenter}'::text[],
           tags, unique_key, unique_states,
           callback_id, callback_timeout_at, callback_filter, callback_on_complete,
           callback_on_fail, callback_transform, run_lease,
           nullif(:progress::jsonb -> (place - 1), 'null'::jsonb)
    FROM gone
    CROSS JOIN LATERAL (
        SELECT (:targets::text[])[place] AS target, :errors::jsonb -> (place - 1) AS error
    ) AS given
), noted AS (
    INSERT INTO awa.workflow_events (workflow_id, job_ids)
    SELECT flow, array_agg(job_id)
    FROM owned
    CROSS JOIN LATERAL (
        SELECT (:flows::bigint[])[width_bucket(job_id, :ids::bigint[])] AS flow
    ) AS given
    WHERE flow > 0 AND target IN ('failed', 'cancelled', 'completed')
    GROUP BY flow
    ORDER BY flow
), notified AS MATERIALIZED (
    SELECT pg_notify('awa:' || queue, '')
    FROM (SELECT DISTINCT queue FROM returned WHERE octet_length(queue) <= 59) AS queues
)
SELECT i.id
FROM unnest(:ids::bigint[]) AS i(id)
WHERE i.id NOT IN (SELECT job_id FROM owned)
  AND (SELECT count(*) FROM notified) >= 0
