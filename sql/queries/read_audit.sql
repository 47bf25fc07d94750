-- Read the audit log.

-- name: list_entries
-- A page of entries, newest first, before a given id.  No lock; primary key, backwards.
SELECT id, at, actor, via, action, target, detail::text AS detail, database_user,
       host(address) AS address
FROM awa.audit_log
WHERE (:before_id::bigint IS NULL OR id < :before_id::bigint)
  AND (:actor::text IS NULL OR actor = :actor::text)
  AND (:action::text IS NULL OR action = :action::text
       OR starts_with(action, :action::text || '.'))
  AND (:target::text IS NULL OR target = :target::text)
  AND (:since::timestamptz IS NULL OR at >= :since::timestamptz)
  AND (:until::timestamptz IS NULL OR at < :until::timestamptz)
ORDER BY id DESC
LIMIT :limit::bigint
