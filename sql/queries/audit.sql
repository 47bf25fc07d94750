-- The audit log: write and expire entries.

-- name: record
-- Add an entry; the database adds the time, its own user and the address.  No lock.
INSERT INTO awa.audit_log (actor, via, action, target, detail)
VALUES (:actor::text, :via::text, :action::text, :target::text, :detail::jsonb)

-- name: forget
-- Delete entries older than a number of days, at least 90.  Index awa_audit_log_at.
SELECT awa.forget_audit(:days::int)
