-- summary: whether the maintenance loop of a client lives
-- description: Maintenance loop health in runtime snapshots
-- breaking: no
-- Locks: access exclusive on awa.runtime_instances, for an instant.

INSERT INTO awa.schema_version (version, description)
VALUES (3, 'Maintenance loop health in runtime snapshots');

ALTER TABLE awa.runtime_instances
    ADD COLUMN maintenance_alive boolean NOT NULL DEFAULT false;
