-- Read dead letters.

-- name: get
-- One dead letter.  No lock; primary key.
SELECT :job.*, reason, dead_at
FROM awa.dead_letters
WHERE id = :id::bigint

-- name: list
-- A page of dead letters, newest id first, before a given id.  No lock; primary key, or
-- awa_dead_letters_queue.
SELECT :job.*, reason, dead_at
FROM awa.dead_letters
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
  AND (:failure::text IS NULL
       OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
ORDER BY id DESC
LIMIT :limit::int

-- name: depth
-- The number of dead letters, in all queues or in one.  No lock; index awa_dead_letters_queue.
SELECT count(*) AS depth FROM awa.dead_letters
WHERE :queue::text IS NULL OR queue = :queue::text

-- name: depth_by_queue
-- The number of dead letters by queue.  No lock; index awa_dead_letters_queue.
SELECT queue, count(*) AS depth FROM awa.dead_letters GROUP BY queue ORDER BY queue

-- name: count
-- The number of matching dead letters.  No lock; index awa_dead_letters_queue with a queue, else a
-- scan.
SELECT count(*) AS fit FROM awa.dead_letters
WHERE (:kind::text IS NULL OR kind = :kind::text)
  AND (:queue::text IS NULL OR queue = :queue::text)
  AND (:tag::text IS NULL OR tags @> ARRAY[:tag::text])
  AND (:failure::text IS NULL
       OR errors[cardinality(errors)] ->> 'failure' = :failure::text)
