-- The columns of each row class, written once.  A block says :job.* for the list of a job.
-- Names and order are the fields of the class; tests/arch/test_sql_files.py compares them.

-- columns: job
-- awa_lib.models.Job, from either job table, the view over both, or awa.dead_letters.
id, kind, queue, state::text AS state, priority, attempt, max_attempts, run_lease,
args::text AS args, metadata::text AS metadata, to_jsonb(tags)::text AS tags,
to_jsonb(errors)::text AS errors, progress::text AS progress,
run_at, created_at, finalized_at, deadline_at

-- columns: claimed_job
-- awa_lib.models.Job, for a handler.  Times travel as text, and empty objects and arrays as NULL:
-- a claim decodes no column that its handler does not read.
id, kind, queue, 'running' AS state, priority, attempt, max_attempts, run_lease,
args::text AS args,
CASE WHEN metadata <> '{}' THEN metadata::text END AS metadata,
CASE WHEN cardinality(tags) > 0 THEN to_jsonb(tags)::text END AS tags,
CASE WHEN cardinality(errors) > 0 THEN to_jsonb(errors)::text END AS errors,
progress::text AS progress, run_at::text AS run_at, created_at::text AS created_at,
finalized_at::text AS finalized_at, deadline_at::text AS deadline_at

-- columns: job_row
-- awa_lib.reads.jobs.JobRow: every column of a job.
id, kind, queue, args::text AS args, state::text AS state, priority, attempt, run_lease,
max_attempts, run_at, heartbeat_at, deadline_at, attempted_at, finalized_at, created_at,
to_jsonb(errors)::text AS errors, metadata::text AS metadata, tags::text[] AS tags,
encode(unique_key, 'hex') AS unique_key, unique_states::text AS unique_states,
callback_id::text AS callback_id, callback_timeout_at, callback_filter,
callback_on_complete, callback_on_fail, callback_transform, progress::text AS progress

-- columns: activity
-- The rows that awa_lib.reads.activity derives transitions from.
id, kind, queue, state::text AS state, attempt, run_lease, tags::text[] AS tags, created_at,
attempted_at, finalized_at, to_jsonb(errors)::text AS errors

-- columns: bulk_operation
-- awa_lib.models.BulkOperation.
id::text AS id, operation, filter, spec, state, cursor, total_matched, processed, skipped,
errored, last_error, submitted_by, submitted_at, started_at, finished_at

-- columns: bulk_task
-- What a batch needs to know of its bulk operation, then its filter: awa_lib.ops.batches.
id::text AS id, operation, cursor, last_id, deferred, batch, span,
failures >= 20 AND failing_since <= now() - interval '10 minutes' AS worn_out,
(spec ->> 'priority')::smallint AS priority, spec ->> 'to_queue' AS to_queue,
filter ->> 'kind' AS kind, filter ->> 'queue' AS queue, filter ->> 'tag' AS tag,
filter ->> 'failure' AS failure, filter ->> 'state' AS state,
filter ->> 'created_after' AS created_after,
filter ->> 'created_before' AS created_before, filter ->> 'args' AS args,
filter ->> 'error' AS error

-- columns: queue_policy
-- awa_lib.policies.QueuePolicy.  A time that no datetime can hold is left out.
queue, dead_letters, max_running, max_running_per_key, max_rate, burst,
poll_interval_ms, claim_batch, deadline_seconds, completed_retention_hours,
failed_retention_hours,
CASE WHEN updated_at BETWEEN '0002-01-01 Z' AND '9998-12-31 Z' THEN updated_at END AS updated_at

-- columns: declaration
-- What workers declare of a queue or kind, for awa_lib.reads.overviews: a descriptor row d, whether
-- it is stale, and what live workers say (the row declared).
d.display_name, d.description, d.owner, d.docs_url, coalesce(d.tags, '{}') AS tags,
coalesce(d.extra, '{}')::text AS extra, d.last_seen_at AS descriptor_last_seen_at,
coalesce(d.last_seen_at + make_interval(secs => greatest(
    3 * d.sync_interval_ms / 1000.0, 30)) < now(), false) AS descriptor_stale,
coalesce(declared.versions, 0) > 1 AS descriptor_mismatch,
coalesce(declared.instances, 0) AS live_instances

-- columns: engine
-- awa.active_storage_engine(), written out: a function with a SET clause is not inlined, and a call
-- takes 110 to 165 us, a third of the insert of one job.
coalesce((
    SELECT CASE WHEN s.state IN ('mixed_transition', 'active')
                THEN coalesce(s.prepared_engine, s.current_engine)
                ELSE s.current_engine END
    FROM awa.storage_transition_state AS s
    WHERE s.singleton
), 'canonical') AS engine

-- columns: pulse
-- awa_lib.ops.maintenance.Pulse: what a row p of awa.worker_processes declares, or the leader's own
-- where there is none.
coalesce(max(p.heartbeat_interval_ms) / 1000, :interval_seconds::float8) AS interval_seconds,
coalesce(max(p.heartbeat_staleness_ms) / 1000, :staleness_seconds::float8) AS staleness_seconds

-- columns: first_due
-- When the first scheduled and the first retryable job became due, those of apart left out.
(SELECT run_at FROM awa.scheduled_jobs
 WHERE state = 'scheduled' AND run_at >= :scheduled_from::timestamptz AND run_at <= now()
   AND id <> ALL (:apart::bigint[])
 ORDER BY run_at, id LIMIT 1) AS scheduled,
(SELECT run_at FROM awa.scheduled_jobs
 WHERE state = 'retryable' AND run_at >= :retryable_from::timestamptz AND run_at <= now()
   AND id <> ALL (:apart::bigint[])
 ORDER BY run_at, id LIMIT 1) AS retryable

-- columns: due
-- awa_lib.ops.maintenance.Due, of a state and when its first job became due.
due.state, due.first IS NOT NULL AS is_due,
least(due.first, now() - interval '1 second')::text AS begin

-- columns: job_filter
-- No columns: the conditions of awa_lib.filters.JobQuery, beside those on id and state.
(:kind::text IS NULL OR kind = :kind::text)
AND (:queue::text IS NULL OR queue = :queue::text)
AND (:tag::text IS NULL OR (tags @> ARRAY[:tag::text] AND tags <> '{}'))
AND (:since::timestamptz IS NULL OR created_at >= :since::timestamptz)
AND (:until::timestamptz IS NULL OR created_at < :until::timestamptz)
AND (:args::jsonb IS NULL OR args @> :args::jsonb)
AND (:metadata::jsonb IS NULL OR metadata @> :metadata::jsonb)
AND (:error::text IS NULL OR cardinality(errors) > 0 AND strpos(lower(errors[cardinality(errors)] ->> 'error'),
                         lower(:error::text)) > 0)
AND (:failure::text IS NULL OR errors[cardinality(errors)] ->> 'failure' = :failure::text)

-- columns: workflow
-- awa_lib.reads.workflows.WorkflowOverview.  The time left is that of the open tasks at the rate of
-- those that have run; below a second it says nothing of a last task that sleeps or is long.
id, name, key, state, waiting + started + succeeded + failed + cancelled + skipped AS tasks,
waiting, started, succeeded, failed, cancelled, skipped, created_at, cancelled_at, finished_at,
extract(epoch FROM coalesce(finished_at, now()) - created_at)::float8 AS seconds,
(SELECT nullif(greatest(left_at_rate, 1), 1)
 FROM (SELECT extract(epoch FROM now() - created_at)::float8 * (waiting + started)
              / nullif(succeeded + failed, 0)) AS estimate (left_at_rate)
 WHERE started > 0) AS seconds_left

-- columns: workflow_node
-- A row n of awa.workflow_nodes, for awa_lib.reads.workflows.
n.number, n.name, n.type, n.group_number, n.state, n.rule, n.on_parent_failure, n.parents_open,
n.parents_succeeded, n.parents_failed, n.parents_skipped, n.signals_open, n.job_id, n.kind, n.queue,
n.priority, n.max_attempts, n.not_before, n.wait_seconds, n.ended_at
