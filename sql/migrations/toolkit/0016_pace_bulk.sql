-- summary: a bulk operation that cannot go on now lets others pass and takes smaller steps
-- breaking: no
-- Locks: access exclusive on awa.bulk_operations for a moment; the job tables are not touched.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (16, 'pace_bulk');

ALTER TABLE awa.bulk_operations
    -- Failures in a row that were nobody's fault, since when, and when it is tried again.
    ADD COLUMN IF NOT EXISTS failures      integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS failing_since timestamptz,
    ADD COLUMN IF NOT EXISTS retry_at      timestamptz,
    -- Most jobs of the next batch, and how many ids it looks at; null is all that are left.
    ADD COLUMN IF NOT EXISTS batch         integer NOT NULL DEFAULT 500,
    ADD COLUMN IF NOT EXISTS span          bigint;
