-- summary: vacuum the queue tables early and at full speed, leave room for heap-only updates
-- breaking: no
-- Locks: share update exclusive on the named tables; reads and writes go on.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (4, 'tune_storage');

-- Every job leaves two dead rows.  At the default of a fifth of the table they would pile up
-- behind the claim; statistics go stale as fast.
ALTER TABLE awa.jobs_hot SET (
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Rows come and go, they are hardly ever updated in place.
ALTER TABLE awa.scheduled_jobs SET (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

ALTER TABLE awa.job_unique_claims SET (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Few rows, written again and again: half of each page stays free for heap-only updates.
ALTER TABLE awa.queue_state_counts SET (
    fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE awa.job_kind_catalog SET (
    fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE awa.job_queue_catalog SET (
    fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE awa.runtime_instances SET (
    fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0
);
