-- summary: limits and waits stay fast while a transaction holds an old snapshot
-- breaking: no
-- Locks: access exclusive on awa.queue_policies and awa.job_waits for a moment; the job tables are
-- not touched.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (22, 'pass_dead_entries');

-- Where claims begin: by kinds, the marks, when they moved, and when the next look from the start
-- is due.
ALTER TABLE awa.queue_policies ADD COLUMN IF NOT EXISTS marks jsonb NOT NULL DEFAULT '{}';

-- Claim jobs of a queue with limits.  One lock is waited for: the row of the queue's policy, held
-- until the claim commits.  Each statement of a volatile function sees what was committed before it
-- began, so the counts taken under that lock hold every claim of every other process.  Jobs are
-- chosen under their own locks: what another transaction has locked is passed over, and the room is
-- filled from behind it; what changed meanwhile is looked at again as it is now.
--
-- p_lease becomes the lease of every row; null looks only, and changes no job.  Ids in p_passing
-- are passed over; p_only, unless null, is the only job to claim.
--
-- The index of running jobs keeps an entry for each job that ran until a vacuum comes, so counting
-- from its start would slow down as the queue is worked (a third of the speed lost after 200,000
-- jobs).  count_from skips those, and all entries when no job runs.  Every five seconds all are counted: jobs that were resumed, and
-- those that workers without limits claimed.
--
-- While a transaction holds an old snapshot, the entries of claimed jobs stay in the index of
-- claims too.  When a look from its start reads 20,000 of them (3 ms), marks say for each priority
-- where claims begin: at the first job that can be claimed, and at least a second ago.  They move
-- once a second, and are made anew by a look from the start, which comes after a second as a rule.
-- A job behind a mark became claimable after that look: it was committed late, handed back, moved,
-- made more urgent.  Each set of kinds has marks of its own.
--
-- The settings keep the plans whatever the statistics and the session say; running jobs are
-- counted by a comparison of pairs because no index but awa_jobs_hot_running_by_queue fits that.
CREATE OR REPLACE FUNCTION awa.claim_limited(
    p_queue text, p_kinds text[], p_limit integer, p_deadline_seconds float8, p_lease bigint,
    p_passing bigint[], p_only bigint
) RETURNS SETOF awa.jobs_hot
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
    v_policy  awa.queue_policies;
    v_per_key integer;
    v_room    integer := p_limit;
    v_window  integer;
    v_looked  integer := 0;
    v_missed  boolean := false;
    v_running integer := 0;
    v_now     timestamptz;
    v_from    bigint;
    v_low     bigint;
    v_busy    jsonb := '{}';
    v_ids     bigint[] := '{}';
    v_more    bigint[] := '{}';
    v_key     text;
    v_jobs    integer;
    v_passed  integer := 0;
    v_part    record;
    v_wrapped boolean := false;
    v_kinds   text := to_jsonb(p_kinds)::text;
    v_marks   jsonb;
    v_mark    jsonb;
    v_whole   boolean;
    v_lows    smallint[] := '{1}';
    v_highs   smallint[] := '{4}';
    v_ats     timestamptz[] := '{-infinity}';
    v_began   timestamptz;
    v_seconds float8;
    v_read    bigint;
BEGIN
    SELECT * INTO v_policy FROM awa.queue_policies WHERE queue = p_queue FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    v_per_key := v_policy.max_running_per_key;
    IF EXISTS (SELECT FROM awa.queue_meta AS m WHERE m.queue = p_queue AND m.paused) THEN
        RETURN;
    END IF;
    v_from := v_policy.count_from;
    IF v_policy.counted_at NOT BETWEEN v_now - interval '5 seconds' AND v_now THEN
        v_from := 0;
    END IF;
    IF v_per_key IS NULL THEN
        SELECT count(*), min(j.id) INTO v_running, v_low
        FROM awa.jobs_hot AS j
        WHERE j.state = 'running' AND (j.queue, j.id) >= (p_queue, v_from) AND j.queue <= p_queue;
    ELSE
        SELECT coalesce(sum(b.jobs), 0), min(b.low),
               coalesce(jsonb_object_agg(b.key, b.jobs) FILTER (WHERE b.key IS NOT NULL), '{}')
        INTO v_running, v_low, v_busy
        FROM (
            SELECT j.metadata ->> '_awa_concurrency_key' AS key, count(*) AS jobs, min(j.id) AS low
            FROM awa.jobs_hot AS j
            WHERE j.state = 'running' AND (j.queue, j.id) >= (p_queue, v_from)
              AND j.queue <= p_queue
            GROUP BY 1
        ) AS b;
    END IF;
    v_room := greatest(0, least(v_room, v_policy.max_running - v_running));
    v_window := v_room + CASE WHEN v_per_key IS NULL THEN 0 ELSE 20 END;

    -- Where to begin.  Without marks, a look each time that all running jobs are counted.
    v_marks := v_policy.marks;
    v_mark := v_marks -> v_kinds;
    v_whole := v_mark IS NULL OR p_only IS NOT NULL OR v_now NOT BETWEEN
        (v_mark ->> 'moved')::timestamptz AND (v_mark ->> 'due')::timestamptz;
    IF NOT v_whole THEN
        v_lows := '{1,2,3,4}';
        v_highs := v_lows;
        v_ats := ARRAY(SELECT a.at::timestamptz
                       FROM jsonb_array_elements_text(v_mark -> 'ats') WITH ORDINALITY AS a(at, n)
                       ORDER BY a.n);
    END IF;
    IF p_only IS NULL AND v_room > 0
        AND (v_whole OR v_now > (v_mark ->> 'moved')::timestamptz + interval '1 second')
        AND (v_mark IS NOT NULL OR v_from = 0)
    THEN
        v_began := clock_timestamp();
        v_read := pg_stat_get_xact_tuples_returned('awa.awa_jobs_hot_claim_by_kind'::regclass);
        v_ats := ARRAY(
            SELECT least(now() - interval '1 second', (
                SELECT min(f.run_at)
                FROM unnest(p_kinds) AS k(kind)
                CROSS JOIN LATERAL (
                    SELECT j.run_at FROM awa.jobs_hot AS j
                    WHERE j.state BETWEEN 'available' AND 'available'
                      AND j.queue = p_queue AND j.kind = k.kind AND j.priority = p.priority
                      AND j.run_at >= CASE WHEN v_whole THEN '-infinity' ELSE v_ats[p.priority] END
                      AND j.run_at <= now()
                    ORDER BY j.run_at, j.id
                    LIMIT 1
                ) AS f))
            FROM generate_series(1, 4) AS p(priority)
            ORDER BY p.priority);
        v_seconds := extract(epoch FROM clock_timestamp() - v_began);
        v_read := pg_stat_get_xact_tuples_returned('awa.awa_jobs_hot_claim_by_kind'::regclass)
                  - v_read;
        IF v_whole AND v_read < 20000 THEN
            v_marks := v_marks - v_kinds;
            v_ats := '{-infinity}';
        ELSE
            -- A sixteenth of the time; a fifth, if a look takes longer than a sixteenth of a second.
            v_marks := v_marks || jsonb_build_object(v_kinds, jsonb_build_object(
                'ats', v_ats, 'moved', v_now, 'due', CASE WHEN v_whole
                    THEN to_jsonb(v_now + make_interval(
                        secs => v_seconds + least(16 * v_seconds, greatest(1, 4 * v_seconds))))
                    ELSE v_mark -> 'due' END));
            v_lows := '{1,2,3,4}';
            v_highs := v_lows;
        END IF;
    END IF;

    IF p_only IS NOT NULL THEN
        -- One job, if there is room for it.
        SELECT coalesce(array_agg(held.id), '{}') INTO v_ids
        FROM (
            SELECT j.id, j.metadata ->> '_awa_concurrency_key' AS key
            FROM awa.jobs_hot AS j
            WHERE j.id = p_only AND j.state::text = 'available' AND j.queue = p_queue
              AND j.kind = ANY (p_kinds) AND j.run_at <= now()
            FOR UPDATE SKIP LOCKED
        ) AS held
        WHERE v_room > 0
          AND (v_per_key IS NULL OR held.key IS NULL
               OR coalesce((v_busy ->> held.key)::integer, 0) < v_per_key);
    ELSIF v_room > 0 THEN
        -- The head of the queue, in run order, less what its keys forbid.
        WITH heads AS MATERIALIZED (
            SELECT h.id, h.priority, h.run_at, h.key
            FROM unnest(p_kinds) AS k(kind)
            CROSS JOIN unnest(v_lows, v_highs, v_ats) AS leg(low, high, at)
            CROSS JOIN LATERAL (
                SELECT j.id, j.priority, j.run_at, j.metadata ->> '_awa_concurrency_key' AS key
                FROM awa.jobs_hot AS j
                WHERE j.state BETWEEN 'available' AND 'available'
                  AND j.queue = p_queue AND j.kind = k.kind AND j.run_at <= now()
                  AND (j.priority, j.run_at) >= (leg.low, leg.at) AND j.priority <= leg.high
                  AND j.id <> ALL (p_passing)
                ORDER BY j.priority, j.run_at, j.id
                LIMIT v_window
            ) AS h
            ORDER BY h.priority, h.run_at, h.id
            LIMIT v_window
        ), placed AS (
            SELECT heads.*, row_number() OVER (
                PARTITION BY heads.key ORDER BY heads.priority, heads.run_at, heads.id) AS place
            FROM heads
        ), allowed AS MATERIALIZED (
            SELECT placed.id FROM placed
            WHERE v_per_key IS NULL OR placed.key IS NULL
               OR placed.place <= v_per_key - coalesce((v_busy ->> placed.key)::integer, 0)
            ORDER BY placed.priority, placed.run_at, placed.id
        ), held AS MATERIALIZED (
            -- One at a time by primary key, until enough.
            SELECT j.id, j.priority, j.run_at, j.key
            FROM allowed
            CROSS JOIN LATERAL (
                SELECT j.id, j.priority, j.run_at, j.metadata ->> '_awa_concurrency_key' AS key
                FROM awa.jobs_hot AS j
                WHERE j.id = allowed.id AND j.state::text = 'available' AND j.queue = p_queue
                  AND j.kind = ANY (p_kinds) AND j.run_at <= now()
                FOR UPDATE SKIP LOCKED
            ) AS j
            LIMIT v_room
        ), again AS (
            -- By the keys that the rows have now.
            SELECT held.*, row_number() OVER (
                PARTITION BY held.key ORDER BY held.priority, held.run_at, held.id) AS place
            FROM held
        )
        SELECT coalesce(array_agg(again.id) FILTER (
                   WHERE v_per_key IS NULL OR again.key IS NULL
                      OR again.place <= v_per_key - coalesce((v_busy ->> again.key)::integer, 0)
               ), '{}'),
               (SELECT count(*) FROM heads),
               (SELECT count(*) FROM allowed) > count(*)
        INTO v_ids, v_looked, v_missed
        FROM again;
    END IF;

    -- From here on only where the head did not fill the room.
    IF p_only IS NULL AND cardinality(v_ids) < v_room AND (v_missed OR v_looked >= v_window) THEN
        IF v_per_key IS NOT NULL THEN
            SELECT v_busy || coalesce(jsonb_object_agg(
                       mine.key, coalesce((v_busy ->> mine.key)::integer, 0) + mine.jobs), '{}')
            INTO v_busy
            FROM (
                SELECT j.metadata ->> '_awa_concurrency_key' AS key, count(*) AS jobs
                FROM awa.jobs_hot AS j
                WHERE j.id = ANY (v_ids) AND j.metadata ? '_awa_concurrency_key'
                GROUP BY 1
            ) AS mine;
        END IF;

        -- Others hold jobs of the head: what is free behind them, however many they are.
        IF v_missed THEN
            WITH free AS MATERIALIZED (
                SELECT h.id, h.priority, h.run_at, h.key
                FROM unnest(p_kinds) AS k(kind)
                CROSS JOIN unnest(v_lows, v_highs, v_ats) AS leg(low, high, at)
                CROSS JOIN LATERAL (
                    SELECT j.id, j.priority, j.run_at,
                           j.metadata ->> '_awa_concurrency_key' AS key
                    FROM awa.jobs_hot AS j
                    WHERE j.state BETWEEN 'available' AND 'available'
                      AND j.queue = p_queue AND j.kind = k.kind AND j.run_at <= now()
                      AND (j.priority, j.run_at) >= (leg.low, leg.at) AND j.priority <= leg.high
                      AND j.id <> ALL (p_passing) AND j.id <> ALL (v_ids)
                    ORDER BY j.priority, j.run_at, j.id
                    LIMIT v_window
                    FOR UPDATE SKIP LOCKED
                ) AS h
            ), placed AS (
                SELECT free.*, row_number() OVER (
                    PARTITION BY free.key ORDER BY free.priority, free.run_at, free.id) AS place
                FROM free
            ), allowed AS (
                SELECT placed.id, placed.key FROM placed
                WHERE v_per_key IS NULL OR placed.key IS NULL
                   OR placed.place <= v_per_key - coalesce((v_busy ->> placed.key)::integer, 0)
                ORDER BY placed.priority, placed.run_at, placed.id
                LIMIT v_room - cardinality(v_ids)
            ), busy AS (
                SELECT allowed.key, coalesce((v_busy ->> allowed.key)::integer, 0) + count(*) AS jobs
                FROM allowed WHERE v_per_key IS NOT NULL AND allowed.key IS NOT NULL
                GROUP BY 1
            )
            SELECT v_ids || coalesce((SELECT array_agg(allowed.id) FROM allowed), '{}'),
                   greatest(v_looked, (SELECT count(*) FROM free)),
                   v_busy || coalesce((SELECT jsonb_object_agg(busy.key, busy.jobs) FROM busy), '{}')
            INTO v_ids, v_looked, v_busy;
        END IF;
    END IF;

    -- Busy keys fill the head.  Jobs without a key behind them have no index of their own: look
    -- through a part of the queue, on from where the last look ended.  They get all the room or half
    -- of it, so that neither they nor the keys wait for ever.  Neither part of the index has marks:
    -- while others have, both wait for the next look from the start.
    IF v_per_key IS NOT NULL AND v_whole AND v_looked >= v_window
        AND cardinality(v_ids) < v_room
    THEN
        WITH part AS MATERIALIZED (
            SELECT j.id, j.priority, j.run_at,
                   j.kind = ANY (p_kinds) AND NOT j.metadata ? '_awa_concurrency_key'
                   AND j.id <> ALL (v_ids) AND j.id <> ALL (p_passing) AS free
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
        v_jobs := (v_room - cardinality(v_ids)) / (1 + (random() < 0.5)::integer);
        SELECT coalesce(array_agg(held.id), '{}') INTO v_more
        FROM (
            SELECT j.id
            FROM unnest(v_part.ids) AS u(id)
            CROSS JOIN LATERAL (
                SELECT j.id FROM awa.jobs_hot AS j
                WHERE j.id = u.id AND j.state::text = 'available' AND j.queue = p_queue
                  AND j.kind = ANY (p_kinds) AND j.run_at <= now()
                  AND NOT j.metadata ? '_awa_concurrency_key'
                FOR UPDATE SKIP LOCKED
            ) AS j
            LIMIT v_jobs
        ) AS held;
        v_ids := v_ids || v_more;
        -- More than there is room for: the next look begins here again.
        IF cardinality(v_more) < v_jobs OR cardinality(v_more) = cardinality(v_part.ids) THEN
            UPDATE awa.queue_policies AS p
            SET (scan_priority, scan_run_at, scan_id) = (
                SELECT v_part.priority, v_part.run_at, v_part.id WHERE v_part.looked = 5000
                UNION ALL
                SELECT 0, '-infinity', 0 WHERE v_part.looked < 5000)
            WHERE p.queue = p_queue AND (v_part.looked = 5000 OR p.scan_id <> 0);
        END IF;
    END IF;

    -- Then go round the keys, on from where the last walk ended.  A key costs one look-up; busy keys
    -- are passed, and of keys whose jobs are all of other kinds or locked at most a thousand, so
    -- that a claim stays short.
    IF v_per_key IS NOT NULL AND v_whole AND v_looked >= v_window
        AND cardinality(v_ids) < v_room
    THEN
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
            v_jobs := coalesce((v_busy ->> v_key)::integer, 0);
            CONTINUE WHEN v_jobs >= v_per_key;
            SELECT coalesce(array_agg(h.id), '{}') INTO v_more
            FROM (
                SELECT j.id FROM awa.jobs_hot AS j
                WHERE j.state BETWEEN 'available' AND 'available' AND j.queue = p_queue
                  AND j.metadata ? '_awa_concurrency_key'
                  AND (j.metadata ->> '_awa_concurrency_key') COLLATE "C" = v_key
                  AND j.kind = ANY (p_kinds) AND j.run_at <= now()
                  AND j.id <> ALL (p_passing) AND j.id <> ALL (v_ids)
                ORDER BY j.priority, j.run_at, j.id
                LIMIT least(v_per_key - v_jobs, v_room - cardinality(v_ids))
                FOR UPDATE SKIP LOCKED
            ) AS h;
            IF v_more <> '{}' THEN
                v_ids := v_ids || v_more;
                v_busy := v_busy || jsonb_build_object(v_key, v_jobs + cardinality(v_more));
            END IF;
            v_passed := v_passed + 1;
            EXIT WHEN cardinality(v_ids) >= v_room OR v_passed >= v_room + 1000;
        END LOOP;
        UPDATE awa.queue_policies AS p SET key_cursor = coalesce(v_key, '')
        WHERE p.queue = p_queue AND p.key_cursor <> coalesce(v_key, '');
    END IF;

    IF p_lease IS NULL THEN
        RETURN QUERY SELECT j.* FROM awa.jobs_hot AS j WHERE j.id = ANY (v_ids);
        RETURN;
    END IF;

    v_low := least(v_low, (SELECT min(i) FROM unnest(v_ids) AS i));
    -- Few updates: the versions of this row stay too.
    IF v_from = 0 OR v_low < v_from OR (v_low > v_from + 1000 AND v_mark IS NULL)
        OR v_marks <> v_policy.marks
    THEN
        UPDATE awa.queue_policies AS p
        SET count_from = coalesce(
                v_low, CASE WHEN v_from = 0 THEN 9000000000000000000 ELSE p.count_from END),
            counted_at = CASE WHEN v_from = 0 THEN v_now ELSE p.counted_at END,
            marks = v_marks
        WHERE p.queue = p_queue;
    END IF;

    RETURN QUERY
    UPDATE awa.jobs_hot AS j
    SET state = 'running', attempt = j.attempt + 1, run_lease = p_lease,
        attempted_at = now(), heartbeat_at = now(),
        deadline_at = now() + make_interval(secs => p_deadline_seconds)
    WHERE j.id = ANY (v_ids)
    RETURNING j.*;
END
$function$;

-- Waits are deleted when they are over, and the entries of those stay: they are found by their end,
-- or by their job, and what has ended is never read.
CREATE INDEX IF NOT EXISTS awa_job_waits_expires_at ON awa.job_waits (expires_at);

CREATE OR REPLACE FUNCTION awa.tell_waiters() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_mergejoin = off
AS $function$
BEGIN
    IF EXISTS (SELECT FROM awa.job_waits WHERE expires_at > now()) THEN
        PERFORM pg_notify('awa_job_state', w.job_id || ' ' || n.state)
        FROM awa.job_waits AS w
        JOIN new_rows AS n ON n.id = w.job_id
        WHERE w.expires_at > now();
    END IF;
    RETURN NULL;
END
$function$;
