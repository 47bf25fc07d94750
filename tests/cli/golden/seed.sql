-- What every golden test finds in its database.  Ids are fixed; times lie at fixed distances from
-- the setting golden.now, in the middle of the minute or hour that people are shown, so that the
-- seconds a test takes change nothing.

CREATE FUNCTION pg_temp.ago(distance interval) RETURNS timestamptz LANGUAGE sql AS
$$ SELECT current_setting('golden.now')::timestamptz - distance $$;

CREATE FUNCTION pg_temp.soon(distance interval) RETURNS timestamptz LANGUAGE sql AS
$$ SELECT current_setting('golden.now')::timestamptz + distance $$;

CREATE FUNCTION pg_temp.failure(attempt integer, distance interval, terminal boolean, error text)
RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('attempt', attempt, 'terminal', terminal, 'error', error,
       'at', to_char(pg_temp.ago(distance) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')) $$;

INSERT INTO awa.jobs_hot (id, kind, queue, args, state, priority, attempt, max_attempts, run_lease,
    run_at, attempted_at, finalized_at, created_at, errors, metadata, tags)
VALUES
    (101, 'send_email', 'email', '{"to": "ada@example.org", "template": "welcome"}', 'completed',
     2, 1, 25, 1, pg_temp.ago('32m30s'), pg_temp.ago('31m30s'), pg_temp.ago('30m30s'),
     pg_temp.ago('32m30s'), '{}', '{}', '{mail,welcome}'),
    (102, 'send_email', 'email', '{"to": "nobody@example.invalid", "template": "invoice"}', 'failed',
     1, 3, 3, 3, pg_temp.ago('20m30s'), pg_temp.ago('15m30s'), pg_temp.ago('14m30s'),
     pg_temp.ago('12h30m'),
     ARRAY[pg_temp.failure(1, '11h30m', false, 'TimeoutError: mail.example.org:25 did not answer within 10 s'),
           pg_temp.failure(2, '10h30m', false, 'TimeoutError: mail.example.org:25 did not answer within 10 s'),
           pg_temp.failure(3, '14m30s', true, E'SMTPRecipientsRefused: 550 5.1.1 <nobody@example.invalid>: user unknown\nTraceback (most recent call last):\n  File "/app/jobs/mail.py", line 41, in send_email\n    server.send_message(message)\nsmtplib.SMTPRecipientsRefused: 550 5.1.1 user unknown')],
     '{"_awa_original_priority": 2, "trace": "4bf92f3577b34da6"}', '{mail,invoice}'),
    (103, 'send_email', 'email', '{"to": "bob@example.org", "template": "invoice"}', 'failed',
     2, 3, 3, 3, pg_temp.ago('13m30s'), pg_temp.ago('12m30s'), pg_temp.ago('11m30s'),
     pg_temp.ago('13h30m'),
     ARRAY[pg_temp.failure(3, '11m30s', true, 'TimeoutError: mail.example.org:25 did not answer within 10 s')],
     '{}', '{mail,invoice}'),
    (104, 'send_email', 'email', '{"to": "eve@example.org", "template": "welcome"}', 'available',
     2, 0, 25, 0, pg_temp.ago('12m30s'), NULL, NULL, pg_temp.ago('12m30s'), '{}', '{}',
     '{mail,welcome}'),
    (105, 'import_customer_addresses_from_the_old_system', 'imports_of_the_night',
     '{"file": "s3://imports/2026/addresses-of-customers-in-alphabetical-order.csv"}', 'available',
     4, 0, 25, 0, pg_temp.ago('11m30s'), NULL, NULL, pg_temp.ago('11m30s'), '{}', '{}', '{}'),
    (109, 'send_email', 'email', '{"to": "old@example.org", "template": "invoice"}', 'cancelled',
     2, 0, 25, 0, pg_temp.ago('14h30m'), NULL, pg_temp.ago('13h30m'), pg_temp.ago('15h30m'), '{}',
     '{}', '{mail}'),
    (110, 'übersetzen', '翻訳', '{"text": "こんにちは世界", "to": "de"}', 'available',
     2, 0, 25, 0, pg_temp.ago('10m30s'), NULL, NULL, pg_temp.ago('10m30s'), '{}', '{}', '{}');

INSERT INTO awa.job_results (job_id, value, size_bytes, written_at, expires_at, purge_at)
VALUES (101, '{"message_id": "7f3a@example.org", "secret": "hunter2"}', 53, pg_temp.ago('30m30s'),
        pg_temp.soon('6d12h'), pg_temp.soon('6d12h'));

INSERT INTO awa.jobs_hot (id, kind, queue, args, state, attempt, run_lease, run_at, heartbeat_at,
    deadline_at, attempted_at, created_at, progress, tags)
VALUES
    (106, 'resize_image', 'images', '{"path": "cover.png", "sizes": [64, 256]}', 'running', 1, 1,
     pg_temp.ago('18m30s'), pg_temp.ago('10m30s'), pg_temp.soon('14m30s'), pg_temp.ago('17m30s'),
     pg_temp.ago('18m30s'),
     '{"percent": 40, "message": "256 px", "metadata": {"done": [64]}}', '{}');

INSERT INTO awa.jobs_hot (id, kind, queue, args, state, attempt, run_lease, run_at, attempted_at,
    created_at, callback_id, callback_timeout_at)
VALUES
    (107, 'charge_card', 'payments', '{"order": 7731, "cents": 4990}', 'waiting_external', 1, 1,
     pg_temp.ago('22m30s'), pg_temp.ago('21m30s'), pg_temp.ago('22m30s'),
     '8feaec61-ea03-4e4c-ab3d-f63350329dc6', pg_temp.soon('38m30s'));

INSERT INTO awa.scheduled_jobs (id, kind, queue, args, state, priority, attempt, run_lease, run_at,
    attempted_at, finalized_at, created_at, errors, tags, unique_key, unique_states)
VALUES
    (108, 'nightly_report', 'default', '{"day": "yesterday"}', 'scheduled', 3, 0, 0,
     pg_temp.soon('14h30m'), NULL, NULL, pg_temp.ago('12h30m'), '{}', '{report}',
     '\x524ce52ccbac415fa763f9dc735dc2a2', B'11111000'),
    (9007199254740993, 'resize_image', 'images', '{"path": "scan.tiff"}', 'retryable', 2, 2, 2,
     pg_temp.soon('16m30s'), pg_temp.ago('12m30s'), pg_temp.ago('11m30s'), pg_temp.ago('19m30s'),
     ARRAY[pg_temp.failure(1, '15m30s', false, 'MemoryError'),
           pg_temp.failure(2, '11m30s', false, 'MemoryError: cannot hold 31000 x 22000 pixels')],
     '{}', NULL, NULL);

SELECT setval('awa.jobs_id_seq', 200);

INSERT INTO awa.dead_letters (id, kind, queue, args, state, priority, metadata, attempt, max_attempts,
    run_lease, run_at, attempted_at, finalized_at, created_at, errors, tags, reason, dead_at)
VALUES
    (51, 'send_email', 'email', '{"to": "x@example.org", "template": "receipt"}', 'failed', 2, '{}', 3, 3, 3,
     pg_temp.ago('14d12h'), pg_temp.ago('14d12h'), pg_temp.ago('13d12h'), pg_temp.ago('15d12h'),
     ARRAY[pg_temp.failure(3, '13d12h', true, 'KeyError: ''receipt''')], '{mail}',
     'moved by hand', pg_temp.ago('12d12h')),
    (52, 'charge_card', 'payments', '{"order": 7002, "cents": 100}', 'failed', 2, '{}', 25, 25, 25,
     pg_temp.ago('12d12h'), pg_temp.ago('12d12h'), pg_temp.ago('11d12h'), pg_temp.ago('13d12h'),
     ARRAY[pg_temp.failure(25, '11d12h', true, 'Declined: the bank does not say why')], '{}',
     'attempts exhausted', pg_temp.ago('11d12h'));

INSERT INTO awa.queue_meta (queue, paused, paused_at, paused_by)
VALUES ('payments', true, pg_temp.ago('12h30m'), 'cli');

INSERT INTO awa.queue_policies (queue, dead_letters, max_running, max_rate, burst, updated_at)
VALUES ('payments', true, 20, 50, 100, pg_temp.ago('14d12h'));

INSERT INTO awa.queue_descriptors (queue, display_name, description, owner, docs_url, tags, extra,
    descriptor_hash, sync_interval_ms, created_at, updated_at, last_seen_at)
VALUES
    ('email', 'E-mail', 'Everything that leaves by SMTP', 'growth',
     'https://wiki.example.org/queues/email', '{mail}', '{"tier": 2}', 'a1', 300000,
     pg_temp.ago('14d12h'), pg_temp.ago('12d12h'), pg_temp.ago('12m30s')),
    ('images', NULL, 'Thumbnails', 'media', NULL, '{}', '{}', 'a2', 300000, pg_temp.ago('14d12h'),
     pg_temp.ago('12d12h'), pg_temp.ago('11d12h'));

INSERT INTO awa.job_kind_descriptors (kind, display_name, description, owner, docs_url, tags,
    descriptor_hash, sync_interval_ms, created_at, updated_at, last_seen_at)
VALUES
    ('send_email', 'Send e-mail', 'Renders a template and sends it', 'growth',
     'https://wiki.example.org/kinds/send_email', '{mail}', 'b1', 300000, pg_temp.ago('14d12h'),
     pg_temp.ago('12d12h'), pg_temp.ago('12m30s'));

INSERT INTO awa.runtime_instances (instance_id, hostname, pid, version, started_at, last_seen_at,
    snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive, heartbeat_alive,
    maintenance_alive, shutting_down, leader, global_max_workers, queues, queue_descriptor_hashes,
    job_kind_descriptor_hashes)
VALUES
    ('0b7a3c1e-0000-4000-8000-000000000001', 'worker-1.prod.example.org', 17, '0.1.0',
     pg_temp.ago('14h30m'), pg_temp.ago('11m30s'), 300000, true, true, true, true, true, false, true,
     NULL, '[{"queue": "email", "in_flight": 0}, {"queue": "images", "in_flight": 1}]',
     '{"email": "a1", "images": "a2"}', '{"send_email": "b1"}'),
    ('0b7a3c1e-0000-4000-8000-000000000002', 'worker-2.prod.example.org', 4194304, '0.5.7',
     pg_temp.ago('13h30m'), pg_temp.ago('12m30s'), 300000, false, true, true, false, true, false,
     false, 64, '[{"queue": "email", "in_flight": 3}]', '{"email": "a9"}', '{"send_email": "b1"}'),
    ('0b7a3c1e-0000-4000-8000-000000000003', 'worker-3.prod.example.org', 9, '0.1.0',
     pg_temp.ago('15h30m'), pg_temp.ago('14h30m'), 10000, true, true, true, true, true, false, false,
     NULL, '[{"queue": "payments", "in_flight": 0}]', '{}', '{}');

INSERT INTO awa.worker_processes (number, instance_id, hostname, pid, version, app_version,
    heartbeat_interval_ms, heartbeat_staleness_ms, started_at, last_seen_at)
VALUES
    (1, '0b7a3c1e-0000-4000-8000-000000000001', 'worker-1.prod.example.org', 17, '0.1.0', '2026.4',
     3000, 10000, pg_temp.ago('14h30m'), pg_temp.ago('11m30s'));
UPDATE awa.jobs_hot SET run_lease = (1 << 29) | (5 << 9) WHERE id = 106;

INSERT INTO awa.cron_jobs (name, cron_expr, timezone, kind, queue, args, priority, max_attempts,
    tags, metadata, last_enqueued_at, created_at, updated_at)
VALUES
    ('nightly', to_char(pg_temp.soon('14h30m') AT TIME ZONE 'UTC', 'SS MI HH24 * * *'), 'UTC',
     'nightly_report', 'default', '{"day": "yesterday"}', 2, 25, '{report}', '{}',
     pg_temp.ago('10h30m'), pg_temp.ago('14d12h'), pg_temp.ago('14d12h')),
    ('billing_of_the_month', to_char(pg_temp.soon('14h30m') AT TIME ZONE 'Asia/Tokyo', 'SS MI HH24 * * *'), 'Asia/Tokyo', 'charge_card', 'payments', '{"all": true}',
     1, 5, '{}', '{"owner": "finance"}', NULL, pg_temp.ago('12d12h'), pg_temp.ago('12d12h'));

INSERT INTO awa.cron_settings (name, missed_fire_policy, catch_up_limit, jitter_seconds, paused_at,
    paused_by, declared_at)
VALUES
    ('nightly', 'coalesce', 1, 0, NULL, NULL, pg_temp.soon('14m30s')),
    ('billing_of_the_month', 'catch_up', 3, 90, pg_temp.ago('12h30m'), 'cli', pg_temp.ago('11d12h'));

INSERT INTO awa.bulk_operations (id, operation, filter, spec, state, cursor, last_id, total_matched,
    processed, skipped, errored, last_error, submitted_by, submitted_at, started_at, finished_at)
VALUES
    ('4e0c2c1e-0f5e-4e5b-8f5a-000000000001', 'retry', '{"kind": "send_email", "state": "failed"}',
     '{}', 'pending', 0, 200, 2, 0, 0, 0, NULL, 'cli', pg_temp.ago('12m30s'), NULL, NULL),
    ('4e0c2c1e-0f5e-4e5b-8f5a-000000000002', 'move_queue', '{"queue": "old"}', '{"to_queue": "email"}',
     'completed', 90, 90, 1200, 1198, 1, 1, 'unique key of job 88 is held by job 90', 'awa',
     pg_temp.ago('14h30m'), pg_temp.ago('13h30m'), pg_temp.ago('12h30m'));

INSERT INTO awa.audit_log (at, actor, via, action, target, detail, database_user, address)
VALUES
    (pg_temp.ago('14d12h'), 'alice', 'web', 'queue.pause', 'payments', '{}', 'awa_runtime',
     '10.1.2.3'),
    (pg_temp.ago('12h30m'), 'bob@laptop', 'cli', 'job.retry', '102',
     '{"from": "failed", "reason": "the mail server is back"}', 'bob', NULL);

UPDATE awa.storage_transition_state
SET entered_at = pg_temp.ago('14d12h'), updated_at = pg_temp.ago('14d12h');

SELECT awa.toolkit_recount();

-- What the last attempt of job 102 has logged.
INSERT INTO awa.job_logs (job_id, run_lease, attempt, lines, records, dropped)
SELECT 102, 3, 3, string_agg(jsonb_build_object(
           'time', to_char(pg_temp.ago(distance) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'),
           'level', level, 'logger', 'shop.mail', 'message', message)::text, E'\n'
           ORDER BY distance DESC), 4, 2
FROM (VALUES ('15m20s'::interval, 'INFO', 'connected to mail.example.org'),
             ('14m40s', 'WARNING', '450 4.2.1 try again later')) AS r (distance, level, message);

-- Failures, whose jobs are gone.
INSERT INTO awa.failures (id, rule, kind, error_type, message, frames, job_id, first_seen_at,
                          last_seen_at, first_version, muted_until)
VALUES ('3f9a2c81d0e1', 1, 'send_email', 'shop.mail.MailDown', 'mail server <n> refused ''...''',
        '{shop/jobs.py send_email,shop/mail.py deliver}', 90,
        pg_temp.ago('58m30s'),
        pg_temp.ago('50m30s'), '2.1', NULL),
       ('0123456789ab', 1, 'report', '', 'hard deadline exceeded', '{}', 91,
        pg_temp.ago('3h30m'),
        pg_temp.ago('2h30m'), NULL,
        pg_temp.soon('5d12h')),
       ('others', 1, 'others', '', 'failures beyond the number that is kept', '{}', 92,
        pg_temp.ago('9d12h'),
        pg_temp.ago('8d12h'), NULL, NULL);
INSERT INTO awa.job_ends (minutes, bucket, queue, kind, outcome, failure, ends)
SELECT unit.minutes,
       date_trunc(unit.name, pg_temp.ago(age::interval)), queue, kind, outcome, failure,
       sum(ends)
FROM (VALUES ('58m30s', 'email', 'send_email', 'failed', '3f9a2c81d0e1', 1200),
             ('50m30s', 'email', 'send_email', 'failed', '3f9a2c81d0e1', 800),
             ('40m30s', 'email', 'send_email', 'requeued', '3f9a2c81d0e1', 2000),
             ('40m30s', 'email', 'send_email', 'completed', '', 2000),
             ('2h30m', 'slow', 'report', 'retried', '0123456789ab', 3))
     AS ended (age, queue, kind, outcome, failure, ends)
CROSS JOIN (VALUES (1::smallint, 'minute'), (60::smallint, 'hour')) AS unit (minutes, name)
GROUP BY 1, 2, 3, 4, 5, 6;

-- A workflow that runs, whose tasks are jobs of above, and two that have ended.
INSERT INTO awa.workflows (id, name, key, state, nodes, waiting, started, succeeded, failed, cancelled,
    skipped, created_at, cancelled_at, finished_at)
OVERRIDING SYSTEM VALUE
VALUES
    (5, 'übersetzen', NULL, 'cancelled', 3, 0, 0, 1, 0, 2, 0, pg_temp.ago('2d12h'),
     pg_temp.ago('2d11h30m'), pg_temp.ago('2d11h30m')),
    (6, 'import', '2026-11-28', 'succeeded', 10008, 0, 0, 10003, 0, 0, 5, pg_temp.ago('1d12h'), NULL,
     pg_temp.ago('1d10h30m')),
    (7, 'import', '2026-11-29', 'open', 10, 2, 2, 3, 1, 0, 0, pg_temp.ago('40m30s'), NULL, NULL);
INSERT INTO awa.workflow_nodes (workflow_id, number, type, name, group_number, state, rule,
    on_parent_failure, parents_open, parents_succeeded, parents_failed, signals_open, job_id, kind,
    queue, priority, max_attempts, args, metadata, tags, ended_at)
SELECT 7, number, type, name, group_number, state, rule, on_failure, open, succeeded, failed, signals,
       job_id, kind, CASE WHEN type = 'task' THEN 'import' END, CASE WHEN type = 'task' THEN 2 END,
       CASE WHEN type = 'task' THEN 3 END,
       CASE WHEN type = 'task' AND state = 'waiting' THEN '{}'::jsonb END, '{}', '{}', pg_temp.ago(ended::interval)
FROM (VALUES
    (1, 'task', 'fetch', NULL, 'succeeded', 'all_succeeded', 'skip', 0, 0, 0, 0, 101, 'fetch', '39m30s'),
    (2, 'group', 'parts', NULL, 'waiting', 'all_succeeded', 'skip', 1, 2, 1, 0, NULL, NULL, NULL),
    (3, 'task', NULL, 2, 'succeeded', 'all_succeeded', 'skip', 0, 1, 0, 0, 9001, 'part', '38m30s'),
    (4, 'task', NULL, 2, 'failed', 'all_succeeded', 'skip', 0, 1, 0, 0, 102, 'part', '37m30s'),
    (5, 'task', NULL, 2, 'started', 'all_succeeded', 'skip', 0, 1, 0, 0, 106, 'part', NULL),
    (6, 'task', NULL, 2, 'succeeded', 'all_succeeded', 'skip', 0, 1, 0, 0, 9002, 'part', '36m30s'),
    (7, 'task', 'merge', NULL, 'waiting', 'all_succeeded', 'wait', 1, 1, 1, 1, 9003, 'merge', NULL),
    (8, 'task', 'report', NULL, 'waiting', 'all_succeeded', 'skip', 1, 1, 0, 0, 9004, 'report', NULL),
    (9, 'task', 'alert', NULL, 'started', 'any_failed', 'skip', 1, 1, 1, 0, 104, 'alert', NULL),
    (10, 'signal', 'approved', NULL, 'waiting', 'all_succeeded', 'skip', 0, 0, 0, 0, NULL, NULL, NULL)
) AS n (number, type, name, group_number, state, rule, on_failure, open, succeeded, failed, signals,
        job_id, kind, ended);
INSERT INTO awa.workflow_edges (workflow_id, parent, child)
VALUES (7, 1, 3), (7, 1, 4), (7, 1, 5), (7, 1, 6), (7, 2, 7), (7, 10, 7), (7, 1, 8), (7, 7, 8),
       (7, 2, 9);
