-- Read the rights of this session.  No lock.

-- name: rights
-- Whether this session may change each noun, and whether the server is a standby.
SELECT pg_is_in_recovery() AS standby,
       coalesce(has_table_privilege(to_regclass('awa.jobs_hot'), 'UPDATE'), false) AS job,
       coalesce(has_table_privilege(to_regclass('awa.queue_meta'), 'INSERT'), false) AS queue,
       coalesce(has_table_privilege(to_regclass('awa.cron_jobs'), 'UPDATE'), false) AS cron,
       coalesce(has_table_privilege(to_regclass('awa.dead_letters'), 'DELETE'), false) AS dlq,
       coalesce(has_table_privilege(to_regclass('awa.bulk_operations'), 'INSERT'), false) AS batch,
       coalesce(has_table_privilege(to_regclass('awa.storage_transition_state'), 'UPDATE'), false) AS storage

-- name: may_change
-- Whether this session can write at all, and its role may insert or change jobs or their queues.
SELECT NOT current_setting('transaction_read_only')::boolean AS writable,
       coalesce(has_any_column_privilege(to_regclass('awa.jobs_hot'), 'INSERT, UPDATE'), false)
       OR coalesce(has_table_privilege(to_regclass('awa.queue_meta'), 'INSERT'), false)
       OR coalesce(has_table_privilege(to_regclass('awa.dead_letters'), 'DELETE'), false)
       OR coalesce(has_table_privilege(to_regclass('awa.cron_jobs'), 'UPDATE'), false) AS allowed
