-- summary: remember the request signatures of callbacks, so that none is accepted twice
-- breaking: no
-- Locks: none on existing tables.

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (5, 'callback_signatures');

CREATE TABLE IF NOT EXISTS awa.callback_signatures (
    signature bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS callback_signatures_expires_at ON awa.callback_signatures (expires_at);
