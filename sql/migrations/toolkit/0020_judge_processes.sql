-- summary: what shows that a worker process is dead: the end of its session, the rescue of its jobs
-- breaking: no
-- Locks: access exclusive on awa.worker_processes, which is small, for an instant.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (20, 'judge_processes');

ALTER TABLE awa.worker_processes
    -- The server process of the session in which it reports; null behind a pooler.
    ADD COLUMN IF NOT EXISTS session int,
    -- When jobs were last taken from it because its heartbeats had stopped.
    ADD COLUMN IF NOT EXISTS rescued_at timestamptz;

CREATE INDEX IF NOT EXISTS awa_worker_processes_instance ON awa.worker_processes (instance_id);
