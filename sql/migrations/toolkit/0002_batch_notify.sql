-- summary: one notification per queue and insert statement, instead of one per row
-- breaking: no
-- Locks: access exclusive on awa.jobs_hot, for an instant.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (2, 'batch_notify');

-- A channel name holds at most 63 bytes.  A queue with a longer name gets no notification and
-- its jobs are found by polling; raising would refuse the insert, or stop the promotion of
-- everybody's scheduled jobs.
CREATE OR REPLACE FUNCTION awa.notify_new_jobs() RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM pg_notify('awa:' || queue, '')
    FROM new_rows
    WHERE state = 'available' AND run_at <= now() AND octet_length(queue) <= 59
    GROUP BY queue;
    RETURN NULL;
END
$function$;

-- The name stays: a canonical script that is run again replaces this trigger, not adds to it.
DROP TRIGGER IF EXISTS trg_awa_notify ON awa.jobs_hot;
CREATE TRIGGER trg_awa_notify
    AFTER INSERT ON awa.jobs_hot
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION awa.notify_new_jobs();
