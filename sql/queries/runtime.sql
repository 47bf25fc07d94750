-- What a worker process publishes about itself, and leader election.

-- name: publish_instance
-- Insert or update the row of this process.  Other versions decode it strictly.
INSERT INTO awa.runtime_instances (
    instance_id, hostname, pid, version, started_at, last_seen_at, snapshot_interval_ms, healthy,
    postgres_connected, poll_loop_alive, heartbeat_alive, maintenance_alive, shutting_down, leader,
    global_max_workers, queues, queue_descriptor_hashes, job_kind_descriptor_hashes,
    storage_capability
)
VALUES (
    :instance_id::uuid, :hostname::text, :pid::int, :version::text, :started_at::timestamptz,
    now(), :snapshot_interval_ms::bigint, :healthy::boolean, :postgres_connected::boolean,
    :poll_loop_alive::boolean, :heartbeat_alive::boolean, :maintenance_alive::boolean,
    :shutting_down::boolean, :leader::boolean, :global_max_workers::int, :queues::jsonb,
    :queue_hashes::jsonb, :kind_hashes::jsonb, 'canonical'
)
ON CONFLICT (instance_id) DO UPDATE
SET last_seen_at = excluded.last_seen_at, healthy = excluded.healthy,
    postgres_connected = excluded.postgres_connected,
    poll_loop_alive = excluded.poll_loop_alive, heartbeat_alive = excluded.heartbeat_alive,
    maintenance_alive = excluded.maintenance_alive, shutting_down = excluded.shutting_down,
    leader = excluded.leader, global_max_workers = excluded.global_max_workers,
    queues = excluded.queues, queue_descriptor_hashes = excluded.queue_descriptor_hashes,
    job_kind_descriptor_hashes = excluded.job_kind_descriptor_hashes

-- name: keep_process
-- Insert the row of this process, or write that it lives when that was written more than an hour
-- ago or in another session; returns when the process started.  No row: the number is that of
-- another process.
WITH known AS (
    SELECT started_at FROM awa.worker_processes
    WHERE number = :number::int AND instance_id = :instance_id::uuid
      AND last_seen_at > now() - interval '1 hour'
      AND session IS NOT DISTINCT FROM :session::int
), kept AS (
    INSERT INTO awa.worker_processes AS p (
        number, instance_id, hostname, pid, version, app_version, heartbeat_interval_ms,
        heartbeat_staleness_ms, started_at, last_seen_at, session
    )
    SELECT :number::int, :instance_id::uuid, :hostname::text, :pid::int, :version::text,
           :app_version::text, :heartbeat_interval_ms::float8, :heartbeat_staleness_ms::float8,
           coalesce(:started_at::timestamptz, now()), now(), :session::int
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (number) DO UPDATE SET last_seen_at = now(), session = excluded.session
    WHERE p.instance_id = excluded.instance_id
    RETURNING started_at
)
SELECT started_at FROM known UNION ALL SELECT started_at FROM kept

-- name: stop_process
-- Write that this process has ended as it should.
UPDATE awa.worker_processes
SET stopped_at = now(), last_seen_at = now()
WHERE number = :number::int AND instance_id = :instance_id::uuid

-- name: sync_queue_descriptors
-- Insert or update the descriptors of this process's queues; updated_at changes only with the hash.
-- All workers of a fleet share a row: one that was renewed within half an interval is not touched,
-- or a thousand workers would wait for each other's commits.
INSERT INTO awa.queue_descriptors AS d (
    queue, display_name, description, owner, docs_url, tags, extra, descriptor_hash,
    sync_interval_ms, last_seen_at
)
SELECT r.name, r.display_name, r.description, r.owner, r.docs_url,
       ARRAY(SELECT jsonb_array_elements_text(r.tags)), r.extra, r.hash,
       :interval_ms::bigint, now()
FROM jsonb_to_recordset(:descriptors::jsonb) AS r(
    name text, display_name text, description text, owner text, docs_url text, tags jsonb,
    extra jsonb, hash text
)
WHERE NOT EXISTS (
    SELECT FROM awa.queue_descriptors AS fresh
    WHERE fresh.queue = r.name AND fresh.descriptor_hash = r.hash
      AND fresh.last_seen_at > now() - make_interval(secs => :interval_ms::bigint / 2000.0)
)
ORDER BY r.name
ON CONFLICT (queue) DO UPDATE
SET display_name = excluded.display_name, description = excluded.description,
    owner = excluded.owner, docs_url = excluded.docs_url, tags = excluded.tags,
    extra = excluded.extra, descriptor_hash = excluded.descriptor_hash,
    sync_interval_ms = excluded.sync_interval_ms, last_seen_at = excluded.last_seen_at,
    updated_at = CASE WHEN d.descriptor_hash = excluded.descriptor_hash THEN d.updated_at
                      ELSE now() END

-- name: sync_kind_descriptors
-- The same for the kinds that this process has handlers for.
INSERT INTO awa.job_kind_descriptors AS d (
    kind, display_name, description, owner, docs_url, tags, extra, descriptor_hash,
    sync_interval_ms, last_seen_at
)
SELECT r.name, r.display_name, r.description, r.owner, r.docs_url,
       ARRAY(SELECT jsonb_array_elements_text(r.tags)), r.extra, r.hash,
       :interval_ms::bigint, now()
FROM jsonb_to_recordset(:descriptors::jsonb) AS r(
    name text, display_name text, description text, owner text, docs_url text, tags jsonb,
    extra jsonb, hash text
)
WHERE NOT EXISTS (
    SELECT FROM awa.job_kind_descriptors AS fresh
    WHERE fresh.kind = r.name AND fresh.descriptor_hash = r.hash
      AND fresh.last_seen_at > now() - make_interval(secs => :interval_ms::bigint / 2000.0)
)
ORDER BY r.name
ON CONFLICT (kind) DO UPDATE
SET display_name = excluded.display_name, description = excluded.description,
    owner = excluded.owner, docs_url = excluded.docs_url, tags = excluded.tags,
    extra = excluded.extra, descriptor_hash = excluded.descriptor_hash,
    sync_interval_ms = excluded.sync_interval_ms, last_seen_at = excluded.last_seen_at,
    updated_at = CASE WHEN d.descriptor_hash = excluded.descriptor_hash THEN d.updated_at
                      ELSE now() END

-- name: try_lead
-- Take the leader lock for the session, if it is free.
SELECT pg_try_advisory_lock(4708303813012965710) AS leads

-- name: try_lead_in_transaction
-- The same until the end of a transaction: behind a pooler a session is shared.  A session that is
-- silent in it is ended, as idle_session_timeout does without a pooler.
SELECT pg_try_advisory_xact_lock(4708303813012965710)
       AND set_config('idle_in_transaction_session_timeout', :silence_ms::text, true) IS NOT NULL
       AS leads

-- name: step_down
-- Release the leader lock, and tell the candidates that it is free.
SELECT pg_advisory_unlock(4708303813012965710) AS released, pg_notify('awa_lead', '')

-- name: listening_channels
-- The channels that this session listens on; none behind a transaction pooler.
SELECT pg_listening_channels() AS channel
