-- summary: the ledger of the toolkit's own migrations
-- breaking: no
-- Locks: none, everything is new.
-- Runs before canonical version 1 on an empty database: a ledger beside an unfinished canonical
-- track says that the toolkit started it and may finish it.

CREATE SCHEMA IF NOT EXISTS awa;

CREATE TABLE IF NOT EXISTS awa.toolkit_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    -- A program that does not know a row may go on when it is not breaking.
    breaking   boolean NOT NULL DEFAULT false,
    applied_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO awa.toolkit_migrations (version, name)
VALUES (0, 'create_ledger');
