-- summary: limits of running jobs for the whole fleet, and settings workers follow while they run
-- breaking: no
-- Locks: access exclusive on awa.queue_policies for a moment; the job tables are not touched.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (10, 'queue_limits');

-- Null means no limit, or what each worker was started with.  A deadline of 0 is none.
ALTER TABLE awa.queue_policies
    ADD COLUMN IF NOT EXISTS max_running         integer CHECK (max_running >= 0),
    ADD COLUMN IF NOT EXISTS max_running_per_key integer CHECK (max_running_per_key >= 1),
    ADD COLUMN IF NOT EXISTS poll_interval_ms    integer CHECK (poll_interval_ms >= 1),
    ADD COLUMN IF NOT EXISTS claim_batch         integer CHECK (claim_batch >= 1),
    ADD COLUMN IF NOT EXISTS max_rate            float8 CHECK (max_rate > 0),
    ADD COLUMN IF NOT EXISTS burst               integer CHECK (burst >= 1),
    ADD COLUMN IF NOT EXISTS deadline_seconds    float8 CHECK (deadline_seconds >= 0),
    ADD COLUMN IF NOT EXISTS completed_retention_hours float8 CHECK (completed_retention_hours >= 0),
    ADD COLUMN IF NOT EXISTS failed_retention_hours    float8 CHECK (failed_retention_hours >= 0),
    -- Where the walk over concurrency keys goes on.
    ADD COLUMN IF NOT EXISTS key_cursor          text NOT NULL DEFAULT '',
    -- Where the look for jobs without a key goes on: after this place in run order.
    ADD COLUMN IF NOT EXISTS scan_priority       smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS scan_run_at         timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN IF NOT EXISTS scan_id             bigint NOT NULL DEFAULT 0,
    -- No job of a lower id ran when all were counted last, and when that was.
    ADD COLUMN IF NOT EXISTS count_from          bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS counted_at          timestamptz NOT NULL DEFAULT '-infinity';

-- Claim jobs of a queue with limits.  One lock a claim: the row of its policy, held until the
-- claim commits.  Each statement of a volatile function sees what was committed before it began,
-- so the counts taken under the lock hold every claim of every other process.
--
-- The index of running jobs keeps an entry for each job that ran until a vacuum comes, so counting
-- from its start would slow down as the queue is worked (a third of the speed lost after 200,000
-- jobs).  count_from skips those.  Every five seconds all are counted: jobs that were resumed, and
-- those that workers without limits claimed.
CREATE OR REPLACE FUNCTION awa.claim_within_limits(
    p_queue text, p_kinds text[], p_limit integer, p_deadline_seconds float8
) RETURNS SETOF awa.jobs_hot
LANGUAGE plpgsql VOLATILE
AS $function$
DECLARE
    v_policy  awa.queue_policies;
    v_room    integer := p_limit;
    v_window  integer;
    v_looked  integer;
    v_running integer := 0;
    v_now     timestamptz;
    v_from    bigint;
    v_low     bigint;
    v_busy    jsonb := '{}';
    v_ids     bigint[] := '{}';
    v_more    bigint[];
    v_key     text;
    v_passed  integer := 0;
    v_part    record;
    v_wrapped boolean := false;
BEGIN
    SELECT * INTO v_policy FROM awa.queue_policies WHERE queue = p_queue FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    IF EXISTS (SELECT FROM awa.queue_meta AS m WHERE m.queue = p_queue AND m.paused) THEN
        RETURN;
    END IF;
    v_from := v_policy.count_from;
    IF v_policy.counted_at NOT BETWEEN v_now - interval '5 seconds' AND v_now THEN
        v_from := 0;
    END IF;
    IF v_policy.max_running_per_key IS NULL THEN
        SELECT count(*), min(j.id) INTO v_running, v_low
        FROM awa.jobs_hot AS j
        WHERE j.state = 'running' AND j.queue = p_queue AND j.id >= v_from;
    ELSE
        SELECT coalesce(sum(b.jobs), 0), min(b.low),
               coalesce(jsonb_object_agg(b.key, b.jobs) FILTER (WHERE b.key IS NOT NULL), '{}')
        INTO v_running, v_low, v_busy
        FROM (
            SELECT j.metadata ->> '_awa_concurrency_key' AS key, count(*) AS jobs, min(j.id) AS low
            FROM awa.jobs_hot AS j
            WHERE j.state = 'running' AND j.queue = p_queue AND j.id >= v_from
            GROUP BY 1
        ) AS b;
    END IF;
    v_room := greatest(0, least(v_room, v_policy.max_running - v_running));
    v_window := v_room;
    IF v_policy.max_running_per_key IS NOT NULL AND v_room > 0 THEN
        v_window := v_room + 20;
    END IF;

    -- The head of the queue, in run order, less what its keys forbid.
    WITH heads AS MATERIALIZED (
        SELECT h.id, h.priority, h.run_at, h.key
        FROM unnest(p_kinds) AS k(kind)
        CROSS JOIN LATERAL (
            SELECT j.id, j.priority, j.run_at, j.metadata ->> '_awa_concurrency_key' AS key
            FROM awa.jobs_hot AS j
            WHERE j.state BETWEEN 'available' AND 'available'
              AND j.queue = p_queue AND j.kind = k.kind AND j.run_at <= now()
            ORDER BY j.priority, j.run_at, j.id
            LIMIT v_window
        ) AS h
        ORDER BY h.priority, h.run_at, h.id
        LIMIT v_window
    ), placed AS (
        SELECT heads.*, row_number() OVER (
            PARTITION BY heads.key ORDER BY heads.priority, heads.run_at, heads.id) AS place
        FROM heads
    ), allowed AS (
        SELECT placed.id FROM placed
        WHERE v_policy.max_running_per_key IS NULL OR placed.key IS NULL
           OR placed.place <= v_policy.max_running_per_key
                              - coalesce((v_busy ->> placed.key)::integer, 0)
        ORDER BY placed.priority, placed.run_at, placed.id
        LIMIT v_room
    )
    SELECT coalesce((SELECT array_agg(allowed.id) FROM allowed), '{}'),
           (SELECT count(*) FROM heads)
    INTO v_ids, v_looked;

    -- Busy keys fill the head.  Jobs without a key behind them have no index of their own: look
    -- through a part of the queue, on from where the last look ended.  They get all the room or half
    -- of it, so that neither they nor the keys wait for ever.
    IF v_looked >= v_window AND cardinality(v_ids) < v_room THEN
        WITH part AS MATERIALIZED (
            SELECT j.id, j.priority, j.run_at,
                   j.kind = ANY (p_kinds) AND NOT j.metadata ? '_awa_concurrency_key'
                   AND j.id <> ALL (v_ids) AS free
            FROM awa.jobs_hot AS j
            WHERE j.state = 'available' AND j.queue = p_queue AND j.run_at <= now()
              AND (j.priority, j.run_at, j.id)
                  > (v_policy.scan_priority, v_policy.scan_run_at, v_policy.scan_id)
            ORDER BY j.priority, j.run_at, j.id
            LIMIT 5000
        ), ends AS (
            SELECT part.* FROM part ORDER BY part.priority DESC, part.run_at DESC, part.id DESC
            LIMIT 1
        )
        SELECT ARRAY(SELECT part.id FROM part WHERE part.free
                     ORDER BY part.priority, part.run_at, part.id) AS ids,
               (SELECT count(*) FROM part) AS looked, ends.priority, ends.run_at, ends.id
        INTO v_part
        FROM (SELECT) AS one LEFT JOIN ends ON true;
        v_more := v_part.ids[1:(v_room - cardinality(v_ids)) / (1 + (random() < 0.5)::integer)];
        v_ids := v_ids || v_more;
        -- More than there is room for: the next look begins here again.
        IF cardinality(v_more) = cardinality(v_part.ids) THEN
            UPDATE awa.queue_policies AS p
            SET (scan_priority, scan_run_at, scan_id) = (
                SELECT v_part.priority, v_part.run_at, v_part.id WHERE v_part.looked = 5000
                UNION ALL
                SELECT 0, '-infinity', 0 WHERE v_part.looked < 5000)
            WHERE p.queue = p_queue AND (v_part.looked = 5000 OR p.scan_id <> 0);
        END IF;
    END IF;

    -- Then go round the keys, on from where the last walk ended.  A key costs one look-up; busy keys
    -- and those of the head are passed, and of keys whose jobs are all of other kinds at most a
    -- thousand, so that a claim stays short.
    IF v_looked >= v_window AND cardinality(v_ids) < v_room THEN
        v_key := v_policy.key_cursor;
        LOOP
            SELECT (j.metadata ->> '_awa_concurrency_key') COLLATE "C" INTO v_key
            FROM awa.jobs_hot AS j
            WHERE j.state BETWEEN 'available' AND 'available' AND j.queue = p_queue
              AND j.metadata ? '_awa_concurrency_key'
              AND (j.metadata ->> '_awa_concurrency_key') COLLATE "C" > v_key
            ORDER BY (j.metadata ->> '_awa_concurrency_key') COLLATE "C"
            LIMIT 1;
            IF v_key IS NULL THEN
                EXIT WHEN v_wrapped;
                v_wrapped := true;
                v_key := '';
                CONTINUE;
            END IF;
            EXIT WHEN v_wrapped AND v_key > v_policy.key_cursor COLLATE "C";
            CONTINUE WHEN coalesce((v_busy ->> v_key)::integer, 0) >= v_policy.max_running_per_key;
            SELECT coalesce(array_agg(h.id), '{}') INTO v_more
            FROM (
                SELECT j.id FROM awa.jobs_hot AS j
                WHERE j.state BETWEEN 'available' AND 'available' AND j.queue = p_queue
                  AND j.metadata ? '_awa_concurrency_key'
                  AND (j.metadata ->> '_awa_concurrency_key') COLLATE "C" = v_key
                  AND j.kind = ANY (p_kinds) AND j.run_at <= now()
                ORDER BY j.priority, j.run_at, j.id
                LIMIT v_policy.max_running_per_key - coalesce((v_busy ->> v_key)::integer, 0)
            ) AS h;
            -- Those of the head have their places already.
            v_more := ARRAY(SELECT unnest(v_more) EXCEPT SELECT unnest(v_ids));
            v_ids := v_ids || v_more[1:v_room - cardinality(v_ids)];
            v_passed := v_passed + 1;
            EXIT WHEN cardinality(v_ids) >= v_room OR v_passed >= v_room + 1000;
        END LOOP;
        UPDATE awa.queue_policies AS p SET key_cursor = coalesce(v_key, '')
        WHERE p.queue = p_queue AND p.key_cursor <> coalesce(v_key, '');
    END IF;

    v_low := least(v_low, (SELECT min(i) FROM unnest(v_ids) AS i));
    IF v_from = 0 OR v_low < v_from OR v_low > v_from + 1000 THEN
        UPDATE awa.queue_policies AS p
        SET count_from = coalesce(v_low, p.count_from),
            counted_at = CASE WHEN v_from = 0 THEN v_now ELSE p.counted_at END
        WHERE p.queue = p_queue;
    END IF;

    RETURN QUERY
    WITH picked AS MATERIALIZED (
        SELECT j.id FROM awa.jobs_hot AS j
        WHERE j.id = ANY (v_ids) AND j.state::text = 'available'
        ORDER BY j.id
        FOR UPDATE SKIP LOCKED
    )
    UPDATE awa.jobs_hot AS j
    SET state = 'running', attempt = j.attempt + 1, run_lease = j.run_lease + 1,
        attempted_at = now(), heartbeat_at = now(),
        deadline_at = now() + make_interval(secs => p_deadline_seconds)
    FROM picked
    WHERE j.id = picked.id
    RETURNING j.*;
END
$function$;
