-- What the leader does for the whole fleet.  Sets are bounded and locked with SKIP LOCKED in id
-- order; states are literals, so that the partial indexes can be used.
--
-- Reads and changes are separate statements.  A read takes no lock and is bounded by an index in
-- whose order it returns ids.  A change gets ids, finds them by the primary key whatever the
-- statistics say (id = ANY(ARRAY(SELECT ...)), never a join or a list; the state compared as text,
-- which fits no index), and tests the condition again under the lock.  If a change fails, it is
-- sent again with fewer ids until the rows in the way are known.

-- name: settle
-- Settings of this transaction: the lock timeout, and index scans whatever the statistics say.
-- Sent each time, because a pooler may have dropped the settings of the connection.
SELECT set_config('lock_timeout', :milliseconds::int::text, true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('jit', 'off', true)

-- name: wait_at_most
-- Set the lock timeout of this transaction.
SELECT set_config('lock_timeout', :milliseconds::int::text, true)

-- name: due_states
-- Whether scheduled and retryable jobs are due, and where a later look may begin: at the first of
-- them, and at least a second ago, for what is committed a little late.  Jobs of apart, which are
-- tried again by their ids, do not count.  No lock; the indexes of the next two.
SELECT :due.*
FROM (SELECT :first_due.*) AS f
CROSS JOIN LATERAL (VALUES ('scheduled', f.scheduled), ('retryable', f.retryable))
    AS due (state, first)

-- name: due_states_and_others
-- The same, and what other duties of the leader look for in small tables: an open bulk operation, a
-- queue that keeps dead letters, and the rows of the schedules, of which each change makes another
-- number.  No lock, but it waits for a lock of a whole table; awa_bulk_operations_open.
SELECT :due.*,
       EXISTS (
           SELECT FROM awa.bulk_operations
           WHERE state IN ('pending', 'running') AND (retry_at IS NULL OR retry_at <= now())
       ) AS bulk,
       EXISTS (SELECT FROM awa.queue_policies WHERE dead_letters) AS dead_letters,
       (SELECT concat(count(*), ' ', sum(hashtextextended(c.xmin::text || c.ctid::text, 0)))
        FROM awa.cron_jobs AS c)
       || ' ' ||
       (SELECT concat(count(*), ' ', sum(hashtextextended(s.xmin::text || s.ctid::text, 0)))
        FROM awa.cron_settings AS s) AS schedules,
       now() AS now
FROM (SELECT :first_due.*) AS f
CROSS JOIN LATERAL (VALUES ('scheduled', f.scheduled), ('retryable', f.retryable))
    AS due (state, first)

-- name: due_scheduled
-- Due scheduled jobs, the oldest first.  No lock; index idx_awa_scheduled_jobs_run_at_scheduled.
SELECT id FROM awa.scheduled_jobs
WHERE state = 'scheduled' AND run_at >= :begin::timestamptz AND run_at <= now()
ORDER BY run_at, id
LIMIT :limit::int

-- name: due_retryable
-- The same for retryable jobs.  Index idx_awa_scheduled_jobs_run_at_retryable.
SELECT id FROM awa.scheduled_jobs
WHERE state = 'retryable' AND run_at >= :begin::timestamptz AND run_at <= now()
ORDER BY run_at, id
LIMIT :limit::int

-- name: promote
-- Make due jobs available.  Unique keys are claimed in key order, so that two promotions and a
-- producer do not deadlock.  Primary key.  The insert trigger notifies.
WITH due AS MATERIALIZED (
    SELECT id FROM awa.scheduled_jobs
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND run_at <= now()
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.scheduled_jobs WHERE id = ANY(ARRAY(SELECT id FROM due)) RETURNING *
), moved AS (
    INSERT INTO awa.jobs_hot (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT id, kind, queue, args, 'available', priority, attempt, max_attempts, now(),
           attempted_at, finalized_at, created_at, errors, metadata, tags, unique_key,
           unique_states, run_lease, progress
    FROM gone
    ORDER BY unique_key, id
    RETURNING id
)
SELECT id FROM moved

-- name: park
-- Delay a job that cannot be promoted by a minute, and record the reason in its errors (once).
-- Primary key; skips a locked row.
UPDATE awa.scheduled_jobs
SET run_at = now() + interval '1 minute',
    errors = CASE
        WHEN errors[cardinality(errors)] ->> 'error' IS NOT DISTINCT FROM :reason::text THEN errors
        ELSE coalesce(errors, '{}') || jsonb_build_object(
            'error', :reason::text, 'attempt', attempt, 'at', to_char(
                now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
    END
WHERE id = ANY(ARRAY(
    SELECT id FROM awa.scheduled_jobs WHERE id = :id::bigint AND run_at <= now()
    FOR UPDATE SKIP LOCKED))

-- name: intend_to_write
-- Wait until running jobs can be changed: during a lock of the whole table (ALTER TABLE, CREATE
-- INDEX, VACUUM FULL) no worker can write heartbeats.  Conflicts with no reader and no writer.
LOCK TABLE awa.jobs_hot IN ROW EXCLUSIVE MODE

-- name: stale_ids
-- Running jobs whose worker is presumed dead: each is judged by the staleness that the process of
-- its lease declares, or by the given one.  There are no more running jobs than the fleet has
-- slots; they are read from their own index, awa_jobs_hot_running_by_queue, one step per job, so
-- that no statistics make a bitmap, a sort or a scan of the table look cheaper.  No lock; processes
-- by primary key.
WITH RECURSIVE walk (queue, id, run_lease, attempted_at, heartbeat_at) AS (
    (SELECT queue, id, run_lease, attempted_at, heartbeat_at
     FROM awa.jobs_hot
     WHERE state = 'running' ORDER BY queue, id LIMIT 1)
    UNION ALL
    SELECT next.*
    FROM walk
    CROSS JOIN LATERAL (
        SELECT queue, id, run_lease, attempted_at, heartbeat_at
        FROM awa.jobs_hot
        WHERE state = 'running' AND (queue, id) > (walk.queue, walk.id)
        ORDER BY queue, id LIMIT 1
    ) AS next
)
SELECT j.id, pulse.interval_seconds, pulse.staleness_seconds
FROM walk AS j
CROSS JOIN LATERAL (
    SELECT :pulse.*
    FROM awa.worker_processes AS p
    WHERE p.number = j.run_lease >> 29 AND j.run_lease & 511 = 0 AND j.run_lease > 0
      AND j.attempted_at BETWEEN p.started_at AND coalesce(p.stopped_at, 'infinity')
) AS pulse
WHERE j.heartbeat_at < now() - make_interval(secs => pulse.staleness_seconds)
ORDER BY j.id
LIMIT :limit::int

-- name: overdue_ids
-- Running jobs past their deadline, read in the same way.
WITH RECURSIVE walk (queue, id, found) AS (
    (SELECT queue, id, deadline_at < now()
     FROM awa.jobs_hot
     WHERE state = 'running' ORDER BY queue, id LIMIT 1)
    UNION ALL
    SELECT next.queue, next.id, next.found
    FROM walk
    CROSS JOIN LATERAL (
        SELECT queue, id, deadline_at < now() AS found
        FROM awa.jobs_hot
        WHERE state = 'running' AND (queue, id) > (walk.queue, walk.id)
        ORDER BY queue, id LIMIT 1
    ) AS next
)
SELECT id FROM walk WHERE found ORDER BY id LIMIT :limit::int

-- name: expired_callback_ids
-- Waiting jobs whose callback timed out, the oldest first.  No lock; index
-- idx_awa_jobs_hot_callback_timeout.
SELECT id FROM awa.jobs_hot
WHERE state = 'waiting_external' AND callback_timeout_at < now()
ORDER BY callback_timeout_at
LIMIT :limit::int

-- name: once_locked_ids
-- The jobs whose row another transaction has, or had, locked since its last change: that leaves its
-- number in xmax.  A transaction that locks a row and changes it leaves the number of the change
-- there.  No lock; primary key.
SELECT id FROM awa.jobs_hot
WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND xmax::text NOT IN ('0', xmin::text)

-- name: free_ids
-- The jobs that no other session has locked now.  Locks them until the end of the statement.
SELECT id FROM awa.jobs_hot
WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
ORDER BY id
FOR UPDATE SKIP LOCKED

-- name: rescue
-- Take jobs away from attempts that cannot end them.  With attempts left they become retryable
-- (at once after a stale heartbeat, otherwise after the backoff), else failed.  The condition is
-- tested again under the lock: a job with a new heartbeat stays.  spent fails all of them.  silent
-- takes two missed heartbeats for a dead worker, instead of the staleness.
--
-- A dead worker is no failure of the job: the attempt is not counted, but the crash is, in the
-- metadata.  After least(max_attempts, 5) crashes the job fails.  (Metadata that is not an object
-- cannot hold the count: then the attempt counts.)  The journal of callbacks is kept only after a
-- dead worker, for the next attempt.  The row of the dead process says when it was taken for dead,
-- unless that row is locked.
WITH locked AS MATERIALIZED (
    SELECT id, attempt, max_attempts, metadata, run_lease, attempted_at, heartbeat_at
    FROM awa.jobs_hot AS j
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[])))
      AND CASE :cause::text
          WHEN 'heartbeat' THEN state::text = 'running'
              AND heartbeat_at < now() - make_interval(secs => (
                  SELECT CASE WHEN :silent::boolean
                      THEN least(pulse.staleness_seconds, 2 * pulse.interval_seconds)
                      ELSE pulse.staleness_seconds END
                  FROM (
                      SELECT :pulse.*
                      FROM awa.worker_processes AS p
                      WHERE p.number = j.run_lease >> 29 AND j.run_lease & 511 = 0 AND j.run_lease > 0
                        AND j.attempted_at
                            BETWEEN p.started_at AND coalesce(p.stopped_at, 'infinity')
                  ) AS pulse))
          WHEN 'deadline' THEN state::text = 'running' AND deadline_at < now()
          ELSE state::text = 'waiting_external' AND callback_timeout_at < now()
      END
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), counted AS MATERIALIZED (
    SELECT id, attempt, max_attempts, run_lease, attempted_at, heartbeat_at,
           CASE WHEN :cause::text = 'heartbeat' AND jsonb_typeof(metadata) = 'object' THEN
               1 + CASE WHEN metadata ->> '_awa_crashes' ~ '^[0-9]{1,4}$'
                        THEN (metadata ->> '_awa_crashes')::int ELSE 0 END
           END AS crashes
    FROM locked
), target AS MATERIALIZED (
    SELECT id, crashes, fatal OR :spent::boolean AS spent,
           jsonb_strip_nulls(jsonb_build_object(
               'error', :error::text || CASE WHEN fatal AND crashes > 1
                   THEN '; its worker died ' || crashes || ' times while it ran' ELSE '' END,
               'failure', :failure::text, 'attempt', attempt, 'crash', crashes,
               'worker', w.worker, 'app_version', w.app_version, 'started', to_char(
                   attempted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
               'heartbeat', CASE WHEN :cause::text = 'heartbeat' THEN to_char(
                   heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') END,
               'at', to_char(
                   now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))) AS entry
    FROM counted
    LEFT JOIN LATERAL (
        SELECT p.hostname || ':' || p.pid AS worker, p.app_version
        FROM awa.worker_processes AS p
        WHERE p.number = run_lease >> 29 AND run_lease & 511 = 0
          AND attempted_at BETWEEN p.started_at AND coalesce(p.stopped_at, 'infinity')
    ) AS w ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN crashes IS NULL THEN attempt >= max_attempts
                    ELSE crashes >= least(max_attempts, 5) END
    ) AS f (fatal)
), taken_for_dead AS (
    UPDATE awa.worker_processes SET rescued_at = now()
    WHERE number = ANY(ARRAY(
        SELECT number FROM awa.worker_processes
        WHERE number = ANY(ARRAY(
                SELECT (run_lease >> 29)::int FROM counted
                WHERE :cause::text = 'heartbeat' AND run_lease & 511 = 0 AND run_lease > 0))
            AND stopped_at IS NULL
        ORDER BY number
        FOR UPDATE SKIP LOCKED))
), ended AS (
    UPDATE awa.jobs_hot AS j
    SET state = 'failed', finalized_at = now(), heartbeat_at = NULL, deadline_at = NULL,
        callback_id = NULL, callback_timeout_at = NULL, callback_filter = NULL,
        callback_on_complete = NULL, callback_on_fail = NULL, callback_transform = NULL,
        errors = coalesce(j.errors, '{}') || target.entry,
        metadata = CASE WHEN crashes IS NULL THEN metadata
            ELSE metadata || jsonb_build_object('_awa_crashes', crashes) END
    FROM target
    WHERE j.id = ANY(ARRAY(SELECT id FROM target WHERE spent)) AND j.id = target.id
    RETURNING j.id, j.kind, j.queue, j.run_lease, j.state
), gone AS (
    DELETE FROM awa.jobs_hot WHERE id = ANY(ARRAY(SELECT id FROM target WHERE NOT spent))
    RETURNING *
), moved AS (
    INSERT INTO awa.scheduled_jobs (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, attempted_at,
        finalized_at, created_at, errors, metadata, tags, unique_key, unique_states, run_lease,
        progress
    )
    SELECT gone.id, kind, queue, args, 'retryable', priority,
           CASE WHEN crashes IS NULL THEN attempt ELSE greatest(attempt - 1, 0) END, max_attempts,
           CASE WHEN :cause::text = 'heartbeat' THEN least(run_at, now())
                ELSE now() + awa.backoff_duration(attempt, max_attempts) END,
           attempted_at, now(), created_at, coalesce(errors, '{}') || entry,
           CASE WHEN crashes IS NOT NULL
                THEN metadata || jsonb_build_object('_awa_crashes', crashes)
                WHEN :cause::text = 'heartbeat' THEN metadata
                ELSE metadata - '{_awa_callbacks,_awa_callback_result,_awa_reenter}'::text[] END,
           tags, unique_key, unique_states, run_lease, progress
    FROM gone
    JOIN target ON target.id = gone.id
    ORDER BY unique_key, gone.id
    RETURNING id, kind, queue, run_lease, state
)
SELECT id, kind, queue, run_lease, state::text AS state, :error::text AS error FROM ended
UNION ALL
SELECT id, kind, queue, run_lease, state::text, :error::text FROM moved
ORDER BY id

-- name: age
-- Raise the priority of waiting jobs by one level per pass; the original priority is kept in the
-- metadata.  Queues and kinds are found by skipping along awa_jobs_hot_claim_by_kind, and the jobs
-- of a queue, kind and priority are one range of it.
WITH RECURSIVE kinds (queue, kind) AS (
    (SELECT queue, kind FROM awa.jobs_hot
     WHERE state BETWEEN 'available' AND 'available'
     ORDER BY queue, kind LIMIT 1)
    UNION ALL
    SELECT next.queue, next.kind
    FROM kinds
    CROSS JOIN LATERAL (
        SELECT j.queue, j.kind FROM awa.jobs_hot AS j
        WHERE j.state BETWEEN 'available' AND 'available'
          AND (j.queue, j.kind) > (kinds.queue, kinds.kind)
        ORDER BY j.queue, j.kind LIMIT 1
    ) AS next
), old AS MATERIALIZED (
    SELECT found.id
    FROM kinds
    CROSS JOIN (VALUES (2::smallint), (3), (4)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT j.id FROM awa.jobs_hot AS j
        WHERE j.state BETWEEN 'available' AND 'available'
          AND j.queue = kinds.queue AND j.kind = kinds.kind AND j.priority = p.priority
          AND j.run_at <= now() - make_interval(secs => :threshold::float8)
        ORDER BY j.run_at, j.id
        LIMIT :limit::int
    ) AS found
    LIMIT :limit::int
), locked AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE id = ANY(ARRAY(SELECT id FROM old)) AND priority > 1
      AND state BETWEEN 'available' AND 'available'
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), aged AS (
    UPDATE awa.jobs_hot
    SET priority = priority - 1,
        metadata = CASE WHEN metadata ? '_awa_original_priority' THEN metadata
            ELSE metadata || jsonb_build_object('_awa_original_priority', priority) END
    WHERE id = ANY(ARRAY(SELECT id FROM locked))
    RETURNING id
)
SELECT count(*) AS aged FROM aged

-- name: old_completed
-- Completed jobs past their retention, the oldest first, without those of open workflows.  No lock;
-- index idx_awa_jobs_hot_completed_finalized, backwards, and for each job awa_workflow_nodes_job.
SELECT id FROM awa.jobs_hot
WHERE state = 'completed' AND finalized_at < now() - make_interval(secs => :seconds::float8)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND queue <> ALL(:except_queues::text[])
  AND coalesce((SELECT w.finished_at IS NOT NULL FROM awa.workflow_nodes AS n
                JOIN awa.workflows AS w ON w.id = n.workflow_id
                WHERE n.job_id = jobs_hot.id LIMIT 1), true)
ORDER BY finalized_at, queue DESC
LIMIT :limit::int

-- name: delete_completed
-- Delete those jobs and their logs, beginning after an earlier batch: an old snapshot keeps the
-- index entries of what was deleted, and each batch from the start would read them again.  Skips
-- locked rows.
WITH old AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE state = 'completed' AND finalized_at >= :ended_after::timestamptz
      AND finalized_at < now() - make_interval(secs => :seconds::float8)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND queue <> ALL(:except_queues::text[])
      AND coalesce((SELECT w.finished_at IS NOT NULL FROM awa.workflow_nodes AS n
                    JOIN awa.workflows AS w ON w.id = n.workflow_id
                    WHERE n.job_id = jobs_hot.id LIMIT 1), true)
    ORDER BY finalized_at, queue DESC
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.jobs_hot WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING id, finalized_at
), logs AS (
    DELETE FROM awa.job_logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))
)
SELECT count(*) AS deleted, max(finalized_at)::text AS last FROM gone

-- name: old_unsuccessful
-- Failed and cancelled jobs past their retention, the oldest first, without failed jobs that are to
-- become dead letters.  No lock; index awa_jobs_hot_unsuccessful_finalized.
SELECT id FROM awa.jobs_hot
WHERE state IN ('failed', 'cancelled')
  AND (state = 'cancelled' OR queue <> ALL (ARRAY(
      SELECT p.queue FROM awa.queue_policies AS p WHERE p.dead_letters)))
  AND finalized_at < now() - make_interval(secs => :seconds::float8)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND queue <> ALL(:except_queues::text[])
  AND coalesce((SELECT w.finished_at IS NOT NULL FROM awa.workflow_nodes AS n
                JOIN awa.workflows AS w ON w.id = n.workflow_id
                WHERE n.job_id = jobs_hot.id LIMIT 1), true)
ORDER BY finalized_at, queue
LIMIT :limit::int

-- name: delete_unsuccessful
-- Delete those jobs and their logs, beginning after an earlier batch.  Skips locked rows.
WITH old AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE state IN ('failed', 'cancelled')
      AND (state = 'cancelled' OR queue <> ALL (ARRAY(
          SELECT p.queue FROM awa.queue_policies AS p WHERE p.dead_letters)))
      AND finalized_at >= :ended_after::timestamptz
      AND finalized_at < now() - make_interval(secs => :seconds::float8)
      AND (:queue::text IS NULL OR queue = :queue::text)
      AND queue <> ALL(:except_queues::text[])
      AND coalesce((SELECT w.finished_at IS NOT NULL FROM awa.workflow_nodes AS n
                    JOIN awa.workflows AS w ON w.id = n.workflow_id
                    WHERE n.job_id = jobs_hot.id LIMIT 1), true)
    ORDER BY finalized_at, queue
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.jobs_hot WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING id, finalized_at
), logs AS (
    DELETE FROM awa.job_logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))
)
SELECT count(*) AS deleted, max(finalized_at)::text AS last FROM gone

-- name: delete_old
-- Delete ended jobs past their retention; a job that was retried meanwhile stays.  Primary key.
WITH old AS MATERIALIZED (
    SELECT id FROM awa.jobs_hot
    WHERE id = ANY(ARRAY(SELECT unnest(:ids::bigint[]))) AND state::text = ANY('{completed,failed,cancelled}')
      AND finalized_at < now() - make_interval(secs => :seconds::float8)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.jobs_hot WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING id
), logs AS (
    DELETE FROM awa.job_logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))
)
SELECT id FROM gone

-- name: recount
-- Update the cached counters; the function limits its own run time.
SELECT awa.recompute_dirty_admin_metadata(100) AS processed

-- name: forget_instances
-- Delete the rows of processes not seen for a day.
DELETE FROM awa.runtime_instances WHERE instance_id = ANY(ARRAY(
    SELECT instance_id FROM awa.runtime_instances
    WHERE last_seen_at < now() - interval '24 hours'
    FOR UPDATE SKIP LOCKED))

-- name: forget_processes
-- Delete worker processes not seen for 30 days, a batch at a time.  Index
-- awa_worker_processes_seen.
WITH gone AS (
    DELETE FROM awa.worker_processes WHERE number = ANY(ARRAY(
        SELECT number FROM awa.worker_processes
        WHERE last_seen_at < now() - interval '30 days'
        ORDER BY last_seen_at
        LIMIT :limit::int
        FOR UPDATE SKIP LOCKED))
    RETURNING number
)
SELECT count(*) AS deleted FROM gone

-- name: forget_bulk_operations
-- Delete bulk operations that ended a month ago.
DELETE FROM awa.bulk_operations WHERE id = ANY(ARRAY(
    SELECT id FROM awa.bulk_operations WHERE finished_at < now() - interval '30 days'
    FOR UPDATE SKIP LOCKED))

-- name: forget_queue_descriptors
-- Delete descriptors of queues that no worker has declared for a while.
DELETE FROM awa.queue_descriptors WHERE queue = ANY(ARRAY(
    SELECT queue FROM awa.queue_descriptors
    WHERE last_seen_at < now() - make_interval(secs => :seconds::float8)
    FOR UPDATE SKIP LOCKED))

-- name: forget_kind_descriptors
-- Delete descriptors of kinds that no worker has declared for a while.
DELETE FROM awa.job_kind_descriptors WHERE kind = ANY(ARRAY(
    SELECT kind FROM awa.job_kind_descriptors
    WHERE last_seen_at < now() - make_interval(secs => :seconds::float8)
    FOR UPDATE SKIP LOCKED))
