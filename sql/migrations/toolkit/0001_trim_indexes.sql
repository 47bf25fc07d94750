-- summary: only the indexes that a hot statement or a page needs
-- breaking: no
-- transaction: no
-- Locks: share update exclusive on both job tables; reads and writes go on.  Each build waits for
-- the transactions that are older than it.  An index left invalid by a build that was cut off is
-- dropped first, so the script can be repeated from the start.
-- Kept: the primary keys, dequeue (workers of awa 0.5 claim by it), callback_id,
-- callback_timeout, completed_finalized, tags, and run_at and (queue, state) of scheduled_jobs.
-- Dropped: (kind, state) and hot (queue, state) cost an entry at each claim and completion;
-- heartbeat_at and deadline_at kept heartbeats from being heap-only updates; no statement
-- filters by created_at.

-- Workers claim per kind they know: a long head of foreign kinds is never scanned.  The predicate
-- is spelled so that our claims can use this index and no other: with stale statistics the planner
-- would take the dequeue index, and walk over that head.
DROP INDEX CONCURRENTLY IF EXISTS awa.awa_jobs_hot_claim_by_kind;
CREATE INDEX CONCURRENTLY awa_jobs_hot_claim_by_kind
    ON awa.jobs_hot (queue, kind, priority, run_at, id)
    WHERE state BETWEEN 'available' AND 'available';

-- Rescue and the count of running jobs: the set is as small as the fleet has slots.
DROP INDEX CONCURRENTLY IF EXISTS awa.awa_jobs_hot_running;
CREATE INDEX CONCURRENTLY awa_jobs_hot_running
    ON awa.jobs_hot (id) WHERE state = 'running';

-- Lists of failed jobs newest first, retry and discard in lock order; queue and kind are last so
-- that they are compared inside the index, before any row is fetched.
DROP INDEX CONCURRENTLY IF EXISTS awa.awa_jobs_hot_unsuccessful;
CREATE INDEX CONCURRENTLY awa_jobs_hot_unsuccessful
    ON awa.jobs_hot (state, id, queue, kind)
    WHERE state IN ('failed', 'cancelled', 'waiting_external');

-- Retention of failed and cancelled jobs, and lists by the time they ended.
DROP INDEX CONCURRENTLY IF EXISTS awa.awa_jobs_hot_unsuccessful_finalized;
CREATE INDEX CONCURRENTLY awa_jobs_hot_unsuccessful_finalized
    ON awa.jobs_hot (finalized_at, queue) WHERE state IN ('failed', 'cancelled');

DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_jobs_hot_kind_state;
DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_jobs_hot_queue_state;
DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_jobs_hot_heartbeat;
DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_jobs_hot_deadline;
DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_jobs_hot_created_at;
DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_scheduled_jobs_kind_state;
DROP INDEX CONCURRENTLY IF EXISTS awa.idx_awa_scheduled_jobs_created_at;

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (1, 'trim_indexes');
