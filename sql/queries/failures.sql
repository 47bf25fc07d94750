-- Failures: groups of attempts that failed in the same way, and counts of all ends.

-- name: count_ends
-- Add to the counts what a process has counted since its last statement, and its failures.  ago is
-- in minutes.  There are about most failures in all and most_of_kind of a kind; what goes beyond is
-- counted as 'others'.  Row locks of both tables in key order, without a wait for the disk: a
-- server that crashes loses the last moment's counts.  Primary keys, awa_failures_kind.
WITH given AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(:failures::jsonb) AS g (
        id text, kind text, error_type text, message text, frames text[], job_id bigint)
), counted AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(:ends::jsonb) AS g (
        ago int, queue text, kind text, outcome text, failure text, ends bigint)
), known AS MATERIALIZED (
    SELECT id FROM awa.failures
    WHERE id = ANY(ARRAY(SELECT failure FROM counted UNION SELECT id FROM given))
), kept AS MATERIALIZED (
    SELECT id FROM known
    UNION ALL
    SELECT 'others'
    UNION ALL
    SELECT id
    FROM (
        SELECT id, kind, row_number() OVER (ORDER BY id) AS place,
               row_number() OVER (PARTITION BY kind ORDER BY id) AS place_of_kind
        FROM given
        WHERE id NOT IN (SELECT id FROM known)
    ) AS fresh
    WHERE place + (SELECT count(*) FROM awa.failures) <= :most::int
      AND place_of_kind + (SELECT count(*) FROM awa.failures AS f WHERE f.kind = fresh.kind)
          <= :most_of_kind::int
), others AS MATERIALIZED (
    SELECT max(job_id) AS job_id
    FROM given
    WHERE id NOT IN (SELECT id FROM kept) AND NOT EXISTS (SELECT FROM given WHERE id = 'others')
), seen AS (
    INSERT INTO awa.failures AS f (
        id, rule, kind, error_type, message, frames, job_id, first_version
    )
    SELECT id, :rule::smallint, kind, error_type, message, coalesce(frames, '{}'), job_id,
           :version::text
    FROM given
    WHERE id IN (SELECT id FROM kept)
    UNION ALL
    SELECT 'others', :rule::smallint, 'others', '', 'failures beyond the number that is kept', '{}',
           job_id, NULL
    FROM others
    WHERE job_id IS NOT NULL
    ORDER BY 1
    ON CONFLICT (id) DO UPDATE SET last_seen_at = now(), job_id = excluded.job_id
    RETURNING 1
), added AS (
    INSERT INTO awa.job_ends AS e (minutes, bucket, queue, kind, outcome, failure, ends)
    SELECT unit.minutes,
           date_trunc(unit.name, now() - make_interval(mins => counted.ago), 'UTC') AS bucket,
           queue, kind, outcome,
           CASE WHEN failure = '' OR failure IN (SELECT id FROM kept) THEN failure
                ELSE 'others' END AS failure,
           sum(ends)
    FROM counted
    CROSS JOIN (VALUES (1::smallint, 'minute'), (60::smallint, 'hour')) AS unit (minutes, name)
    GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (minutes, bucket, queue, kind, outcome, failure)
    DO UPDATE SET ends = e.ends + excluded.ends
    RETURNING 1
)
SELECT (SELECT count(*) FROM seen) AS failures, (SELECT count(*) FROM added) AS ends,
       set_config('synchronous_commit', 'off', true) AS durability

-- name: are_outside_ends
-- Whether there are ends that no worker has seen.  No lock.
SELECT EXISTS (SELECT FROM awa.uncounted_ends) AS found

-- name: take_outside_ends
-- Take a batch of ends that no worker has seen, added up by minute.  Skips locked rows.  The table
-- holds those of the last seconds.
WITH old AS MATERIALIZED (
    SELECT ctid FROM awa.uncounted_ends LIMIT :limit::int FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.uncounted_ends WHERE ctid = ANY(ARRAY(SELECT ctid FROM old)) RETURNING *
)
SELECT (extract(epoch FROM date_trunc('minute', now(), 'UTC') - date_trunc('minute', at, 'UTC'))
        / 60)::int AS ago,
       queue, kind, outcome, sum(ends)::bigint AS ends, max(job_id) AS job_id,
       failure::text AS failure, count(*) AS taken
FROM gone
GROUP BY 1, 2, 3, 4, failure

-- name: forget_ends
-- Delete counts of old minutes or hours, the oldest first.  Skips locked rows; primary key.
WITH old AS MATERIALIZED (
    SELECT ctid FROM awa.job_ends
    WHERE minutes = :minutes::smallint AND bucket < now() - make_interval(secs => :seconds::float8)
    ORDER BY minutes, bucket, queue, kind, outcome, failure
    LIMIT :limit::int
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.job_ends WHERE ctid = ANY(ARRAY(SELECT ctid FROM old)) RETURNING 1
)
SELECT count(*) AS deleted FROM gone

-- name: forget_failures
-- Delete failures that were not seen for long, unless they are muted.  The table is small.
WITH old AS MATERIALIZED (
    SELECT id FROM awa.failures
    WHERE last_seen_at < now() - make_interval(secs => :seconds::float8)
      AND (muted_until IS NULL OR muted_until < now())
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM awa.failures WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING 1
)
SELECT count(*) AS deleted FROM gone

-- name: mute
-- Mute a failure until a time, or end that with null.  Primary key.
UPDATE awa.failures SET muted_until = :until::timestamptz WHERE id = :id::text RETURNING id

-- name: find
-- The id of a failure, if there is one.  No lock; primary key.
SELECT id FROM awa.failures WHERE id = :id::text
