-- summary: one row per running client
-- description: Runtime observability snapshots
-- breaking: no
-- Locks: none, the table is new.

INSERT INTO awa.schema_version (version, description)
VALUES (2, 'Runtime observability snapshots');

CREATE TABLE awa.runtime_instances (
    instance_id          uuid PRIMARY KEY,
    hostname             text,
    pid                  integer NOT NULL,
    version              text NOT NULL,
    started_at           timestamptz NOT NULL,
    last_seen_at         timestamptz NOT NULL DEFAULT now(),
    snapshot_interval_ms bigint NOT NULL,
    healthy              boolean NOT NULL,
    postgres_connected   boolean NOT NULL,
    poll_loop_alive      boolean NOT NULL,
    heartbeat_alive      boolean NOT NULL,
    shutting_down        boolean NOT NULL,
    leader               boolean NOT NULL,
    global_max_workers   integer,
    queues               jsonb NOT NULL DEFAULT '[]'
);

CREATE INDEX idx_awa_runtime_instances_last_seen
    ON awa.runtime_instances (last_seen_at DESC);
