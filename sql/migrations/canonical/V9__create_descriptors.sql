-- summary: what queues and kinds say about themselves
-- description: Queue and job-kind descriptor catalogs
-- breaking: no
-- Locks: access exclusive on awa.runtime_instances, for an instant.

INSERT INTO awa.schema_version (version, description)
VALUES (9, 'Queue and job-kind descriptor catalogs');

CREATE TABLE awa.queue_descriptors (
    queue            text PRIMARY KEY,
    display_name     text,
    description      text,
    owner            text,
    docs_url         text,
    tags             text[] NOT NULL DEFAULT '{}',
    extra            jsonb NOT NULL DEFAULT '{}',
    descriptor_hash  text NOT NULL,
    sync_interval_ms bigint NOT NULL DEFAULT 10000,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT queue_descriptors_queue_nonempty CHECK (length(queue) > 0),
    CONSTRAINT queue_descriptors_queue_length CHECK (length(queue) <= 200),
    CONSTRAINT queue_descriptors_display_length CHECK (display_name IS NULL OR length(display_name) <= 200),
    CONSTRAINT queue_descriptors_description_len CHECK (description IS NULL OR length(description) <= 2000),
    CONSTRAINT queue_descriptors_owner_length CHECK (owner IS NULL OR length(owner) <= 200),
    CONSTRAINT queue_descriptors_docs_url_length CHECK (docs_url IS NULL OR length(docs_url) <= 2048),
    CONSTRAINT queue_descriptors_tags_count CHECK (cardinality(tags) <= 20),
    CONSTRAINT queue_descriptors_hash_nonempty CHECK (length(descriptor_hash) > 0),
    CONSTRAINT queue_descriptors_hash_length CHECK (length(descriptor_hash) <= 128),
    CONSTRAINT queue_descriptors_sync_interval_ms CHECK (sync_interval_ms > 0)
);

CREATE TABLE awa.job_kind_descriptors (
    kind             text PRIMARY KEY,
    display_name     text,
    description      text,
    owner            text,
    docs_url         text,
    tags             text[] NOT NULL DEFAULT '{}',
    extra            jsonb NOT NULL DEFAULT '{}',
    descriptor_hash  text NOT NULL,
    sync_interval_ms bigint NOT NULL DEFAULT 10000,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_kind_descriptors_kind_nonempty CHECK (length(kind) > 0),
    CONSTRAINT job_kind_descriptors_kind_length CHECK (length(kind) <= 200),
    CONSTRAINT job_kind_descriptors_display_length CHECK (display_name IS NULL OR length(display_name) <= 200),
    CONSTRAINT job_kind_descriptors_description_len CHECK (description IS NULL OR length(description) <= 2000),
    CONSTRAINT job_kind_descriptors_owner_length CHECK (owner IS NULL OR length(owner) <= 200),
    CONSTRAINT job_kind_descriptors_docs_url_length CHECK (docs_url IS NULL OR length(docs_url) <= 2048),
    CONSTRAINT job_kind_descriptors_tags_count CHECK (cardinality(tags) <= 20),
    CONSTRAINT job_kind_descriptors_hash_nonempty CHECK (length(descriptor_hash) > 0),
    CONSTRAINT job_kind_descriptors_hash_length CHECK (length(descriptor_hash) <= 128),
    CONSTRAINT job_kind_descriptors_sync_interval_ms CHECK (sync_interval_ms > 0)
);

ALTER TABLE awa.runtime_instances
    ADD COLUMN queue_descriptor_hashes jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN job_kind_descriptor_hashes jsonb NOT NULL DEFAULT '{}';
