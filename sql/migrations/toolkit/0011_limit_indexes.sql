-- summary: the indexes that fleet-wide limits are counted by
-- breaking: no
-- transaction: no
-- Locks: share update exclusive on the job table; reads and writes go on.  Each build waits for the
-- transactions that are older than it.  An index left invalid by a build that was cut off is
-- dropped first, so the script can be repeated from the start.

-- Running jobs of one queue; takes the place of awa_jobs_hot_running, which held the id alone.
DROP INDEX CONCURRENTLY IF EXISTS awa.awa_jobs_hot_running_by_queue;
CREATE INDEX CONCURRENTLY awa_jobs_hot_running_by_queue
    ON awa.jobs_hot (queue, id) WHERE state = 'running';
DROP INDEX CONCURRENTLY IF EXISTS awa.awa_jobs_hot_running;

-- The next concurrency key with a job to claim; jobs without a key have no entry.
DROP INDEX CONCURRENTLY IF EXISTS awa.awa_jobs_hot_claim_by_key;
CREATE INDEX CONCURRENTLY awa_jobs_hot_claim_by_key
    ON awa.jobs_hot (
        queue, ((metadata ->> '_awa_concurrency_key') COLLATE "C"), priority, run_at, id
    )
    WHERE state BETWEEN 'available' AND 'available' AND metadata ? '_awa_concurrency_key';

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (11, 'limit_indexes');
