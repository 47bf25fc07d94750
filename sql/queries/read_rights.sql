-- Read the rights of this session.  No lock.

-- name: rights
-- Whether this session may change each noun, and whether the server is a standby.
SELECT pg_is_in_recovery() AS standby,
       coalesce(has_table_privilege(to_regclass('awa.jobs_hot'), 'UPDATE'), false) AS job,
       coalesce(has_table_privilege(to_regclass('awa.queue_meta'), 'INSERT'), false) AS queue,
       coalesce(has_table_privilege(to_regclass('awa.cron_jobs'), 'UPDATE'), false) AS cron,
       coalesce(has_table_privilege(to_regclass('awa.dead_letters'), 'DELETE'), false) AS dlq,
       coalesce(has_table_privilege(to_regclass('awa.bulk_operations'), 'INSERT'), false) AS batch,
       coalesce(has_table_privilege(to_regclass('awa.storage_transition_state'), 'UPDATE'), false) AS storage,
       coalesce(has_table_privilege(to_regclass('awa.workflows'), 'UPDATE'), false) AS workflow
