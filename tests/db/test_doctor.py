"""Each condition is caused on a real database; where the remedy is SQL, it is obeyed."""

from __future__ import annotations

import itertools
import json
import time

import psycopg
import pytest
from fix_clients import AnyClient
from fix_doctor import brief, instance, obey
from fix_wait import aeventually, eventually
from fix_worker import Noop, working
from psycopg.conninfo import make_conninfo

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.doctor import CHECKS, Limits, Severity, doctor
from awa_lib.doctor.catalog import read_catalog, reference
from awa_lib.ops.roles import apply_roles
from awa_lib.schema.migrate import apply, migrations
from awa_lib.schema.scripts import RETIRABLE

ERROR, WARNING, NOTE = "error", "warning", "note"


async def test_a_healthy_database_with_a_worker_has_nothing(sick, examined, sound_url) -> None:
    run(sick, apply_roles())
    async with awa.AsyncClient(make_conninfo(sound_url, user="awa_runtime")) as client:

        @client.task(Noop)
        async def noop(job: awa.Job) -> None:
            pass

        async with working(client):
            await client.insert_many([Noop(n) for n in range(50)])

            async def done() -> bool:
                stats = await client.queue_stats()
                leads = (await client.health_check()).leader
                return leads and stats[0].completed_last_hour == 50

            await aeventually(done)

            assert examined() == []
            findings = examined(everything=True)
    assert [one.check for one in findings] == list(CHECKS)
    assert {one.severity for one in findings} == {Severity.ok}


def test_our_files_make_what_the_reference_says(sick) -> None:
    """Fails after a new migration until .ci/schema is run."""
    found, wanted = run(sick, read_catalog()), reference()

    assert found.columns == wanted.columns
    assert found.constraints.keys() == wanted.constraints.keys()
    assert found.indexes == wanted.indexes
    assert found.triggers == wanted.triggers
    assert found.functions.keys() == wanted.functions.keys()
    assert all(digests <= wanted.functions[name] for name, digests in found.functions.items())


def test_pending_migrations_and_nothing_about_drift(sick, examined) -> None:
    sick.execute("DELETE FROM awa.toolkit_migrations WHERE version IN (12, 22)")
    sick.execute("DROP TABLE awa.job_waits")

    (found,) = examined("migrations", "drift")

    assert (found.severity, found.do) == (ERROR, "awa migrate")
    assert found.what == "migrations are pending: T0012, T0022"
    apply(sick)
    assert examined("migrations", "drift") == []


def test_a_schema_of_awa_0_5_is_examined(sound) -> None:
    """What the toolkit adds is not there: those checks say that they cannot run."""
    with sound.database() as url, psycopg.connect(url, autocommit=True) as conn:
        for _, _, script in migrations():
            conn.execute(script)
        findings = run(conn, doctor())

    assert {one.check for one in findings if one.severity == "error"} == {"migrations"}
    (batches,) = [one for one in findings if one.check == "batches"]
    assert batches.what.startswith("not checked: the awa schema is missing or not up to date")
    assert batches.do == "apply the migrations: awa migrate"


def test_no_schema_and_unknown_checks_are_errors(sound) -> None:
    with sound.database() as url, awa.Client(url) as client:
        with pytest.raises(awa.SchemaNotMigrated):
            client.doctor()
        with pytest.raises(awa.ValidationError, match="unknown check: horizn") as error:
            client.doctor(["horizn"])
    assert error.value.hint == "did you mean: horizon"


def test_every_missing_function_index_and_trigger_is_found_and_put_back(sick, examined) -> None:
    wanted = reference()
    for name in wanted.functions:
        sick.execute(f"DROP FUNCTION awa.{name.partition('(')[0]} CASCADE")
        findings = examined("drift")
        assert {one.severity for one in findings} == {ERROR}
        assert f"the function {name} is missing" in [one.what for one in findings]
        obey(sick, findings)
    for name, index in wanted.indexes.items():
        if name in RETIRABLE.values():
            continue
        if name.endswith("_pkey"):
            sick.execute(f"ALTER TABLE awa.{index.table_name} DROP CONSTRAINT {name}")
        else:
            sick.execute(f"DROP INDEX awa.{name}")
        (found,) = examined("drift")
        assert (found.subject, found.severity) == (name, ERROR if index.is_unique else WARNING)
        obey(sick, [found])
    for table, name in wanted.constraints:
        sick.execute(f"ALTER TABLE awa.{table} DROP CONSTRAINT {name}")
        (found,) = examined("drift")
        assert (found.subject, found.severity) == (name, WARNING)
        obey(sick, [found])
    for table, name in wanted.triggers:
        sick.execute(f"DROP TRIGGER {name} ON awa.{table}")
        (found,) = examined("drift")
        assert (found.subject, found.severity) == (name, ERROR)
        obey(sick, [found])
        sick.execute(
            f"ALTER TABLE awa.{table} DISABLE TRIGGER {name}" if table != "jobs" else "SELECT"
        )
        obey(sick, examined("drift"))

    assert examined("drift") == []
    with awa.Client(make_conninfo(sick.info.dsn)) as client:
        client.insert(Noop(1), unique_opts={"by_args": True})
        client.insert(Noop(1), run_at="2100-01-01T00:00:00Z")


CHANGED = [
    ("DROP TABLE awa.dead_letters", ERROR, "dead_letters", False),
    ("ALTER TABLE awa.queue_meta DROP COLUMN paused_by", ERROR, "queue_meta.paused_by", False),
    ("ALTER TABLE awa.cron_jobs ALTER COLUMN kind TYPE varchar(9)", ERROR, "cron_jobs.kind", False),
    ("ALTER TABLE awa.jobs_hot ALTER COLUMN tags DROP NOT NULL", ERROR, "jobs_hot.tags", False),
    ("ALTER TABLE awa.scheduled_jobs ALTER COLUMN id DROP DEFAULT", ERROR, "scheduled_jobs.id", True),
    ("ALTER TABLE awa.jobs_hot ALTER COLUMN args DROP DEFAULT", ERROR, "jobs_hot.args", False),
    ("ALTER TABLE awa.jobs_hot ADD CONSTRAINT mine CHECK (priority < 9)", WARNING, "mine", False),
    (("ALTER TABLE awa.jobs_hot DROP CONSTRAINT jobs_hot_kind_length, ADD CONSTRAINT"
      " jobs_hot_kind_length CHECK (length(kind) < 10) NOT VALID"),
     WARNING, "jobs_hot_kind_length", True),
    ("ALTER TABLE awa.jobs_hot ADD COLUMN mine int", WARNING, "jobs_hot.mine", False),
    ("ALTER TABLE awa.queue_meta ADD COLUMN mine int", NOTE, "queue_meta.mine", False),
    ("CREATE TABLE awa.mine (id int PRIMARY KEY)", NOTE, "mine", False),
    ("CREATE INDEX mine ON awa.jobs_hot (created_at)", WARNING, "mine", True),
    ('CREATE INDEX "My i" ON awa.queue_meta (paused)', NOTE, "My i", True),
    (("CREATE OR REPLACE FUNCTION awa.backoff_duration(attempt smallint, max_attempts smallint)"
     " RETURNS interval LANGUAGE sql AS $$ SELECT interval '1s' $$"),
     ERROR, "backoff_duration(attempt smallint, max_attempts smallint)", True),
    ("CREATE FUNCTION awa.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", NOTE, "mine()", False),
    (("CREATE TRIGGER mine BEFORE UPDATE ON awa.jobs_hot FOR EACH ROW"
     " EXECUTE FUNCTION suppress_redundant_updates_trigger()"), WARNING, "mine", True),
    (("CREATE OR REPLACE TRIGGER trg_awa_notify AFTER INSERT ON awa.jobs_hot"
     " FOR EACH ROW EXECUTE FUNCTION awa.notify_new_job()"), ERROR, "trg_awa_notify", True),
    (("DROP INDEX awa.idx_awa_jobs_unique;"
     "CREATE INDEX idx_awa_jobs_unique ON awa.job_unique_claims (unique_key)"),
     ERROR, "idx_awa_jobs_unique", True),
    (("DROP INDEX awa.idx_awa_jobs_hot_tags;"
     "CREATE INDEX idx_awa_jobs_hot_tags ON awa.jobs_hot USING gin (metadata)"),
     WARNING, "idx_awa_jobs_hot_tags", True),
]  # fmt: skip


@pytest.mark.parametrize(("change", "severity", "subject", "mends"), CHANGED)
def test_what_was_changed_by_hand_is_found(
    sick, examined, change, severity, subject, mends
) -> None:
    sick.execute(change)

    findings = examined("drift")

    assert ("drift", severity, subject) in brief(findings)
    assert len(findings) == 1
    if mends:
        obey(sick, findings)
        assert examined("drift") == []


def test_an_index_whose_build_was_cut_off_is_found(sick, examined) -> None:
    sick.execute("DROP INDEX awa.idx_awa_jobs_unique")
    sick.execute("INSERT INTO awa.job_unique_claims VALUES ('x', 1), ('x', 2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sick.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY idx_awa_jobs_unique"
            " ON awa.job_unique_claims (unique_key)"
        )

    (found,) = examined("drift")

    assert (found.what, found.severity) == ("the index idx_awa_jobs_unique cannot be used", ERROR)
    sick.execute("DELETE FROM awa.job_unique_claims WHERE job_id = 2")
    obey(sick, [found])
    assert examined("drift") == []


@pytest.mark.parametrize(
    ("change", "severity", "says", "mends"),
    [
        ("DELETE FROM awa.storage_transition_state", ERROR, "is missing", True),
        (("SELECT awa.storage_prepare('queue_storage');"
         "UPDATE awa.storage_transition_state SET entered_at = now() - interval '30 days'"),
         NOTE, "prepared 30 days ago", False),
        (("UPDATE awa.storage_transition_state SET prepared_engine = 'queue_storage',"
         " state = 'mixed_transition'"), ERROR, "another storage engine", False),
    ],
)  # fmt: skip
def test_a_move_to_another_engine_is_found(sick, examined, change, severity, says, mends) -> None:
    sick.execute(change)

    (found,) = examined("storage")

    assert found.severity == severity
    assert says in found.what
    if mends:
        obey(sick, [found])
        assert examined("storage") == []


JOB = "INSERT INTO awa.jobs_hot (kind, queue, state, heartbeat_at, deadline_at, attempted_at"
CAUSES = [
    ("stuck", f"{JOB}) VALUES ('k', 'q', 'running', now() - interval '5 min', now(), now())",
     "1 job is running without a recent heartbeat"),
    ("stuck", f"{JOB}) VALUES ('k', 'q', 'running', now(), now() - interval '5 min', now())",
     "1 job is running past the deadline"),
    ("orphans", (f"{JOB}) SELECT 'k', 'q', 'running', NULL, NULL, now()"
     " FROM generate_series(1, 12)"),
     "12 jobs are running with neither heartbeat nor deadline"),
    ("callbacks", (f"{JOB}, callback_id, callback_timeout_at) VALUES ('k', 'q',"
     " 'waiting_external', NULL, NULL, now(), gen_random_uuid(), now() - interval '5 min')"),
     "1 job is waiting for a callback past the time-out"),
    ("promotion", ("INSERT INTO awa.scheduled_jobs (kind, state, run_at)"
     " SELECT 'k', 'scheduled'::awa.job_state, now() - interval '2 min' FROM generate_series(1, 2)"
     " UNION ALL SELECT 'k', 'retryable', now() - interval '3 min'"),
     "3 jobs are due but not available"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "cause", "says"), CAUSES)
def test_jobs_that_nobody_sees_to_are_found(sick, examined, check, cause, says) -> None:
    sick.execute(cause)

    (found,) = examined(check)

    assert (found.check, found.severity) == (check, ERROR)
    assert found.what.startswith(says)
    others = [one.check for one in examined("stuck", "orphans", "callbacks", "promotion")]
    assert others == [check]
    if check == "orphans":
        assert found.do is not None
        assert found.do.startswith("awa job cancel ")
        return
    assert (found.why, found.do) == (
        "no worker runs, so no leader handles them", "awa worker MODULE:CLIENT",
    )  # fmt: skip
    instance(sick)
    assert examined(check)[0].do == "awa doctor --check leader"


def test_few_ids_of_many_stuck_jobs_are_read(sick, examined) -> None:
    sick.execute(
        "INSERT INTO awa.scheduled_jobs (kind, state, run_at)"
        " SELECT 'k', 'scheduled', now() - interval '2 min' FROM generate_series(1, 12000)"
    )

    (found,) = examined("promotion")

    assert found.what == "10,000 jobs or more are due but not available"


WAIT = "INSERT INTO awa.jobs_hot (kind, queue, priority, run_at) SELECT"


def test_queues_without_a_worker_are_found(sick, examined) -> None:
    sick.execute(
        f"{WAIT} 'k' || n % 3, 'it''s', 1 + n % 4, now() - interval '5 min'"
        " FROM generate_series(1, 40) AS n"
    )
    sick.execute(f"{WAIT} 'k', 'big', 4, now() - interval '5 min' FROM generate_series(1, 1200)")
    sick.execute(f"{WAIT} 'k', 'new', 1, now()")
    sick.execute(f"{WAIT} 'k', 'paused', 1, now() - interval '5 min'")
    sick.execute("INSERT INTO awa.queue_meta (queue, paused) VALUES ('paused', true)")

    big, its, paused = examined("queues")

    assert (big.subject, big.severity) == ("big", ERROR)
    assert big.what == "no worker works the queue big, where 1,000 jobs or more wait"
    assert its.what == "no worker works the queue it's, where 40 jobs wait"
    assert its.why == "the oldest has waited 5 min; no worker runs"
    assert its.do == """awa worker MODULE:CLIENT --queue 'it'"'"'s'"""
    assert (paused.subject, paused.severity) == ("paused", NOTE)
    assert paused.do == "awa queue resume paused"
    assert examined("kinds") == []


async def test_kinds_that_no_worker_knows_are_found(sick, examined, sound_url) -> None:
    sick.execute(f"{WAIT} 'renamed', 'default', 1, now() - interval '5 min'")
    async with awa.AsyncClient(sound_url) as client:

        @client.task(Noop)
        async def noop(job: awa.Job) -> None:
            pass

        async with working(client):
            (found,) = examined("queues", "kinds")

    assert (found.subject, found.severity) == ("renamed", ERROR)
    assert found.do == "awa kind show renamed"


async def test_kinds_that_nearly_always_fail_are_found(sick, examined, sound_url) -> None:
    async with awa.AsyncClient(sound_url) as client:

        @client.task(Noop)
        async def noop(job: awa.Job) -> None:
            if job.tags == ["bad"]:
                raise ConnectionError(f"refused\nby {job.id}")

        async with working(client):
            await client.insert_many([Noop(n) for n in range(2)])
            await client.insert_many([Noop(n) for n in range(9)], tags=["bad"], max_attempts=1)
            await client.insert_many([Noop(n) for n in range(9)], tags=["bad"])

            async def ended() -> bool:
                (stats,) = await client.queue_stats()
                return (stats.failed, stats.retryable, stats.completed_last_hour) == (9, 9, 2)

            await aeventually(ended)
            await aeventually(lambda: examined("failing")[0].what.startswith("18 of 20"))
        assert examined("failing", limits={"failing_attempts": 19}) == []
        (counted,) = examined("failing")
        # As of workers that count no ends.
        sick.execute("DELETE FROM awa.job_ends")
        (found,) = examined("failing")

    (failure,) = sick.execute("SELECT id FROM awa.failures").fetchone()
    assert (counted.subject, counted.severity) == ("noop", ERROR)
    assert counted.what.startswith("18 of 20 attempts of the kind noop have failed since ")
    assert counted.why == "most often: ConnectionError: refused by <n>"
    assert counted.do == f"awa failure show {failure}"
    assert (found.subject, found.severity) == ("noop", WARNING)
    assert found.what == "18 of the last 20 attempts of the kind noop failed"
    assert found.why == "most often: ConnectionError: refused"
    assert found.do == "awa job list --kind noop --state failed,retryable -o wide"
    sick.execute("UPDATE awa.jobs_hot SET state = 'completed' WHERE state = 'failed'")
    assert examined("failing") == []


def slots(name: str, used: int, waiting: int, limit: int = 10) -> str:
    row = {"queue": name, "in_flight": used, "waiting": waiting, "config": {"max_workers": limit}}
    return f"'{json.dumps([row])}'"


def test_queues_without_a_free_slot_are_found(sick, examined) -> None:
    instance(sick, leader=True, queues=slots("full", 10, 0))
    instance(sick, pid=2, queues=slots("blocked", 10, 9))
    instance(sick, pid=3, queues=slots("held", 10, 10))
    instance(sick, pid=4, queues=slots("free", 9, 9))
    instance(sick, pid=5, queues=slots("busy", 10, 0))
    for queue in ("full", "blocked", "free"):
        sick.execute(f"{WAIT} 'k', '{queue}', 1, now() - interval '5 min'")

    blocked, full, held = examined("slots")

    assert [one.severity for one in (blocked, full, held)] == [ERROR, WARNING, NOTE]
    assert blocked.what == "waits for callbacks hold 9 of 10 slots of the queue blocked"
    assert blocked.why is not None
    assert blocked.why.endswith("; the oldest job has waited 5 min")
    assert full.what == "all 10 slots of the queue full are taken"
    assert full.do == "awa worker MODULE:CLIENT --queue full=20"
    assert held.what == "waits for callbacks hold 10 of 10 slots of the queue held"


def test_bulk_operations_that_hang_are_found(sick, examined) -> None:
    sick.execute("""
        INSERT INTO awa.bulk_operations (
            operation, filter, state, last_id, total_matched, processed, last_error, submitted_at,
            finished_at
        ) VALUES
            ('retry', '{}', 'pending', 1, 5, 0, NULL, now() - interval '20 min', NULL),
            ('cancel', '{}', 'running', 1, 5, 3, 'boom', now() - interval '2 h', NULL),
            ('delete', '{}', 'failed', 1, 5, 4, 'bad', now() - interval '1 h', now()),
            ('delete', '{}', 'running', 1, 5, 4, NULL, now(), NULL),
            ('delete', '{}', 'failed', 1, 5, 4, NULL, now() - interval '9 d',
             now() - interval '9 d')
    """)

    running, pending, failed = examined("batches")

    assert running.severity == pending.severity == WARNING
    assert running.what.endswith("(cancel) has run for 2 h and processed 3 of 5 jobs")
    assert running.why == "boom"
    assert pending.what.endswith("(retry) has not started in 20 min")
    assert (failed.severity, failed.why) == (NOTE, "bad")
    assert failed.do == f"awa batch show {failed.subject}"
    with awa.Client(sick.info.dsn) as client:
        client.run_bulk_operation(pending.subject)
    assert pending.subject not in [one.subject for one in examined("batches")]


def test_workflows_that_wait_for_someone_are_found(sick, examined) -> None:
    with awa.Client(sick.info.dsn) as client:
        flows = {}
        for name in ("signal", "retry", "runs", "young"):
            with client.workflow(name) as flow:
                first = flow.add(Noop(1), name="first")
                held = {} if name == "retry" else {"signal": "it's ok"}
                flow.add(Noop(2), name="second", after=first, on_parent_failure="wait", **held)
            flows[name] = flow.id
            state = {"retry": "failed", "runs": "running"}.get(name, "completed")
            sick.execute(
                "UPDATE awa.jobs_hot SET state = %s, finalized_at = now() WHERE id = %s",
                (state, first.job_id),
            )
            sick.execute(
                "INSERT INTO awa.workflow_events (workflow_id, job_ids) VALUES (%s, %s)",
                (flow.id, [first.job_id]),
            )
            sick.execute("SELECT awa.resolve_workflow(%s)", (flow.id,))
    old = [flows[name] for name in ("signal", "retry", "runs")]
    long_ago = "now() - interval '26 hours'"
    sick.execute(f"UPDATE awa.workflows SET created_at = {long_ago} WHERE id = ANY (%s)", (old,))
    assert examined("workflows") == []
    sick.execute(
        f"UPDATE awa.workflow_nodes SET ended_at = {long_ago}"
        " WHERE ended_at IS NOT NULL AND workflow_id = ANY (%s)",
        (old,),
    )

    retry, signal = examined("workflows")

    assert (retry.severity, signal.severity) == (WARNING, NOTE)
    assert retry.what == f"the workflow {flows['retry']} (retry) has waited for 26 h for a retry"
    assert retry.why is not None
    assert retry.why.startswith("1 task waits for the retry of a task that failed")
    assert retry.do == f"awa workflow retry {flows['retry']}"
    assert signal.why == "not sent: it's ok"
    assert signal.do == f"""awa workflow signal {flows["signal"]} 'it'"'"'s ok'"""


def test_ids_that_run_out_are_found(sick, examined) -> None:
    for share, severity in ((6, WARNING), (9.5, ERROR)):
        sick.execute(f"SELECT setval('awa.jobs_id_seq', ({2**63 - 1} / 10 * {share})::bigint)")
        (found,) = examined("ids")
        assert (found.severity, found.subject) == (severity, "jobs_id_seq")


def test_a_sequence_behind_its_rows_is_found(sick, examined, sound_url) -> None:
    with awa.Client(sound_url) as client:
        last = [client.insert(Noop(n), run_at="2100-01-01T00:00:00Z").id for n in range(3)][-1]
        assert examined("ids") == []
        sick.execute("SELECT setval('awa.jobs_id_seq', 1, false)")
        sick.execute("ALTER SEQUENCE awa.audit_log_id_seq RESTART")
        sick.execute(
            "INSERT INTO awa.audit_log (id, actor, via, action, target) OVERRIDING SYSTEM VALUE"
            " VALUES (5, 'a', 'cli', 'b', 'c')"
        )

        with pytest.raises(awa.DatabaseError, match="an id that is in use") as refused:
            client.insert(Noop(9), run_at="2100-01-01T00:00:00Z")
        jobs, entries = examined("ids")
        obey(sick, [jobs, entries])

        assert refused.value.hint == "awa doctor --check ids prints the statement that sets it"
        assert jobs.what == f"the next job id is 2, but ids up to {last} are in use"
        assert (jobs.severity, jobs.subject) == (ERROR, "jobs_id_seq")
        assert (entries.severity, entries.subject) == (ERROR, "audit_log_id_seq")
        assert examined("ids") == []
        assert client.insert(Noop(9)).id == last + 1


def test_a_missing_sequence_is_found(sick, examined) -> None:
    sick.execute("DROP SEQUENCE awa.jobs_id_seq CASCADE")

    (found,) = examined("ids")

    assert (found.what, found.subject) == (
        "the sequence jobs_id_seq of job ids is missing", "jobs_id_seq",
    )  # fmt: skip


def test_what_an_extension_owns_is_found(sick, examined) -> None:
    sick.execute("CREATE EXTENSION pg_trgm")
    sick.execute("ALTER EXTENSION pg_trgm ADD SCHEMA awa")
    sick.execute("ALTER EXTENSION pg_trgm ADD TABLE awa.jobs_hot")

    found = examined("extensions")

    assert [(one.severity, one.subject) for one in found] == [
        (ERROR, "schema awa"), (ERROR, "table awa.jobs_hot"),
    ]  # fmt: skip
    obey(sick, found)
    assert examined("extensions") == []


def test_a_subscription_that_writes_jobs_is_found(sick, examined, sound, sound_url) -> None:
    with (
        sound.database(sound.template()) as publisher,
        psycopg.connect(publisher, autocommit=True) as conn,
    ):
        tables = "awa.jobs_hot, awa.scheduled_jobs"
        conn.execute(f"CREATE PUBLICATION jobs FOR TABLE {tables}")
        conn.execute("SELECT pg_create_logical_replication_slot('jobs', 'pgoutput')")
        sick.execute(
            f"CREATE SUBSCRIPTION jobs CONNECTION '{make_conninfo(publisher)}' PUBLICATION jobs"
            " WITH (create_slot = false, copy_data = false)"
        )
        try:
            (found,) = examined("subscriptions")
            assert (found.severity, found.subject) == (WARNING, "jobs")
            sick.execute(found.do or "")
            (rest,) = examined("subscriptions")
            assert (rest.severity, rest.do) == (NOTE, "awa doctor --check ids")
        finally:
            sick.execute("ALTER SUBSCRIPTION jobs DISABLE")
            sick.execute("ALTER SUBSCRIPTION jobs SET (slot_name = NONE)")
            sick.execute("DROP SUBSCRIPTION jobs")
            eventually(
                lambda: conn.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                    " WHERE slot_name = 'jobs' AND NOT active"
                ).fetchall()
            )
    assert examined("subscriptions") == []


def test_no_leader_is_found(sick, examined, sound_url) -> None:
    instance(sick, started_at="now()")
    assert examined("leader") == []
    instance(sick)

    (found,) = examined("leader")

    assert (found.severity, found.what) == (ERROR, "no worker leads")
    instance(sick, leader="true")
    assert examined("leader") == []
    instance(sick, leader="true")
    (found,) = examined("leader")
    assert (found.severity, found.what) == (
        WARNING, "2 workers report that they lead: host:1, host:1",
    )  # fmt: skip
    sick.execute(
        "UPDATE awa.runtime_instances SET last_seen_at = now() - interval '20 s' WHERE leader"
    )
    assert [one.what for one in examined("leader")] == ["no worker leads"]


def test_a_lock_that_leads_nobody_is_found(sick, examined, sound_url) -> None:
    with psycopg.connect(sound_url, autocommit=True, application_name="gone") as lost:
        lost.execute("SELECT pg_try_advisory_lock(4708303813012965710)")
        assert examined("leader") == []
        instance(sick)
        assert brief(examined("leader")) == [("leader", WARNING, str(lost.info.backend_pid))]

        (found,) = examined("leader", limits={"settled_seconds": 0})

        assert found.severity == ERROR
        assert "(gone, role postgres) holds the leader lock" in found.what
        obey(sick, [found])
        eventually(lambda: [one.what for one in examined("leader")] == ["no worker leads"])


def test_workers_that_are_not_well_are_found(sick, examined) -> None:
    assert brief(examined("workers")) == [("workers", NOTE, None)]
    instance(sick, pid="7", healthy="false", heartbeat_alive="false")

    (found,) = examined("workers")

    assert (found.severity, found.subject) == (ERROR, "host:7")
    assert found.why == "stopped: heartbeat; its log says why"
    sick.execute("UPDATE awa.runtime_instances SET last_seen_at = now() - interval '2 min'")
    silent, none = examined("workers")
    assert (silent.severity, silent.subject) == (WARNING, "host:7")
    assert silent.what.startswith("the worker host:7 has been silent for 12")
    assert silent.why.startswith("it was killed, hangs, or is cut off from the database; its log")
    assert silent.do == "awa workers --all -o wide"
    assert (none.severity, none.what) == (NOTE, "no worker runs")
    # That is history.
    sick.execute("UPDATE awa.runtime_instances SET last_seen_at = now() - interval '6 min'")
    assert brief(examined("workers")) == [("workers", NOTE, None)]


def test_a_dead_worker_is_found_at_once(sick, examined) -> None:
    instance(sick, pid="7", leader="true", queues="""'[{"queue": "q", "in_flight": 3}]'""")
    instance(sick, pid="8")
    sick.execute(
        "INSERT INTO awa.worker_processes (number, instance_id, hostname, pid, version, session,"
        " heartbeat_interval_ms, heartbeat_staleness_ms, started_at, last_seen_at)"
        " SELECT 1, instance_id, hostname, pid, version, 0, 3000, 10000, started_at, last_seen_at"
        " FROM awa.runtime_instances WHERE pid = 7"
    )

    (found,) = examined("workers")
    assert found.why.startswith(
        "its session has ended, the leader rescues its jobs, 3 when it was last seen; "
    )
    # Another one is elected.
    assert examined("leader") == []
    sick.execute("UPDATE awa.worker_processes SET rescued_at = clock_timestamp()")
    (found,) = examined("workers")
    assert found.why.startswith("its session has ended, its jobs were rescued 0 s ago; ")


def test_releases_side_by_side_are_found(sick, examined) -> None:
    instance(sick)
    instance(sick, version="'0.5.7'", storage_capability="'queue_storage'")

    engine, mixed = examined("versions")

    assert (mixed.severity, mixed.what) == (NOTE, "the fleet runs 2 releases: 0.1, 0.5.7")
    assert (engine.severity, engine.do) == (WARNING, "awa storage status")


def test_descriptors_in_drift_are_found(sick, examined) -> None:
    for digest in ("a", "b"):
        instance(
            sick,
            queue_descriptor_hashes=f"""'{{"email": "{digest}", "same": "x"}}'""",
            job_kind_descriptor_hashes=f"""'{{"send": "{digest}"}}'""",
        )

    assert brief(examined("descriptors")) == [
        ("descriptors", WARNING, "email"), ("descriptors", WARNING, "send"),
    ]  # fmt: skip


def test_clocks_that_differ_are_found(sick, examined) -> None:
    assert examined("clock") == []
    for shift, words in ((60, "60.0 s ahead of"), (-3600, "3600.0 s behind")):
        (found,) = examined("clock", clock=lambda shift=shift: time.time() + shift)
        assert found.severity == WARNING
        assert words in found.what
    # An answer that takes long says little.
    ticks = itertools.cycle([-5, 5])
    assert examined("clock", clock=lambda: time.time() + next(ticks)) == []
    instance(sick, started_at="now() + interval '7 s'")
    (found,) = examined("clock")
    assert found.subject == "host:1"
    assert "at least 7.0 s ahead" in found.what


async def test_both_clients_and_asyncpg_see_the_same(sick, sound_url) -> None:
    import asyncpg
    from fix_bridge import asyncpg_target

    sick.execute(f"{WAIT} 'k', 'q', 1, now() - interval '5 min'")
    sick.execute("CREATE INDEX mine ON awa.jobs_hot (created_at)")
    with awa.Client(sound_url) as client:
        expected = brief(client.doctor())
        assert len(expected) == 3
    async with awa.AsyncClient(sound_url) as client:
        assert brief(await AnyClient(client).doctor(everything=True))[:3] == expected
    conn = await asyncpg.connect(**asyncpg_target(sound_url))
    try:
        async with conn.transaction():
            assert brief(await awa.AsyncClient.on(conn).doctor()) == expected
    finally:
        await conn.close()


def test_a_caller_keeps_transaction_and_settings(sick, sound_url) -> None:
    sick.execute("DROP TABLE awa.bulk_operations")
    with psycopg.connect(sound_url) as conn:
        conn.execute("SET LOCAL statement_timeout = '77s'")
        conn.execute("CREATE TABLE mine ()")
        findings = run(conn, doctor(["batches", "ids"]))
        assert [one.what.partition(":")[0] for one in findings] == ["not checked"]
        assert conn.execute("SHOW statement_timeout").fetchone() == ("77s",)
        conn.commit()
    assert sick.execute("SELECT to_regclass('mine')").fetchone() == ("mine",)


def test_it_works_read_only(sick, sound_url) -> None:
    with psycopg.connect(
        sound_url, autocommit=True, options="-c default_transaction_read_only=on"
    ) as conn:
        assert brief(run(conn, doctor())) == [("workers", NOTE, None)]


def test_a_table_that_is_locked_stops_no_other_check(sick, sound_url) -> None:
    with psycopg.connect(sound_url) as blocker, psycopg.connect(sound_url, autocommit=True) as conn:
        blocker.execute("LOCK TABLE awa.scheduled_jobs")
        findings = run(conn, doctor(limits=Limits(look_seconds=1)))

    blind = [one for one in findings if one.what.startswith("not checked: ")]
    assert {one.check for one in blind} == {
        "stuck", "orphans", "callbacks", "promotion", "failing", "ids",
    }  # fmt: skip
    assert {one.severity for one in blind} == {WARNING}
    assert {one.what for one in blind} == {"not checked: canceling statement due to lock timeout"}
    assert brief([one for one in findings if one not in blind]) == [("workers", NOTE, None)]


def schedule(conn, name: str, **columns: object) -> None:
    row = {"name": f"'{name}'", "cron_expr": "'@daily'", "kind": "'k'", **columns}
    conn.execute(
        f"INSERT INTO awa.cron_jobs ({', '.join(row)}) VALUES ({', '.join(map(str, row.values()))})"
    )


def test_schedules_that_do_not_fire_are_found(sick, examined) -> None:
    schedule(sick, "fine", last_enqueued_at="now()")
    schedule(sick, "broken", cron_expr="'x'")
    schedule(sick, "paused", cron_expr="'x'")
    sick.execute("INSERT INTO awa.cron_settings (name, paused_at) VALUES ('paused', now())")
    schedule(sick, "nowhere", timezone="'Mars'")
    schedule(sick, "endless", last_enqueued_at="'infinity'")
    schedule(sick, "wild", priority="9")
    schedule(sick, "early", last_enqueued_at="'2999-01-01 Z'")
    # It never fired though it was made an hour ago, and nobody leads.
    schedule(sick, "late", cron_expr="'* * * * *'", created_at="now() - interval '1 hour'")

    found = {one.subject: one for one in examined("schedules")}

    assert {name: one.severity.value for name, one in found.items()} == {
        "broken": ERROR, "paused": NOTE, "nowhere": ERROR, "endless": ERROR, "wild": ERROR,
        "early": WARNING,
    }  # fmt: skip
    assert found["wild"].why == "priority must be a whole number from 1 to 4: 9"
    assert found["early"].why == (
        "last_enqueued_at is in the future: nothing fires before 2999-01-01 00:00:00Z"
    )
    obey(sick, [found["early"]])
    instance(sick, leader="true")
    again = {one.subject: one.what for one in examined("schedules")}
    assert "early" not in again
    assert again["late"] in {f"the schedule late is {minutes} min late" for minutes in (60, 61)}


def test_tables_that_a_publication_refuses_are_found(sick, examined) -> None:
    assert examined("replica-identity") == []
    sick.execute("ALTER TABLE awa.job_unique_claims REPLICA IDENTITY DEFAULT")
    sick.execute("CREATE TABLE awa.more (id int)")

    claims, more = examined("replica-identity")

    assert (claims.severity, claims.subject) == (WARNING, "job_unique_claims")
    assert claims.do == (
        "ALTER TABLE awa.job_unique_claims REPLICA IDENTITY USING INDEX idx_awa_jobs_unique;"
    )
    assert more.do == "ALTER TABLE awa.more REPLICA IDENTITY FULL;"
    sick.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    assert {one.severity.value for one in examined("replica-identity")} == {ERROR}
    obey(sick, [claims, more])
    assert examined("replica-identity") == []
    sick.execute("DROP PUBLICATION everything")


async def test_a_publication_of_all_tables_stops_nothing(sick, sound_url) -> None:
    """Insert, claim, complete, retry, uniqueness, counters, retention, schedules, dead letters."""
    assert sick.execute("SHOW wal_level").fetchone() == ("logical",)
    sick.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    async with awa.AsyncClient(sound_url) as client:
        tried: list[int] = []

        @client.task(dict, kind="once")
        async def once(job: awa.Job) -> None:
            tried.append(job.id)
            if job.args.get("fails") and job.attempt == 1:
                raise awa.RetryAfter(0)

        @client.task(dict, kind="never", backoff=lambda *_: 0)
        async def never(job: awa.Job) -> None:
            raise ValueError

        await client.set_dead_letters("default", True)
        client.periodic("tick", "* * * * * *", dict, {}, kind="once")
        retried = await client.insert({"fails": True}, kind="once", unique_opts={"by_args": True})
        await client.insert({}, kind="never", max_attempts=1, unique_opts={"by_args": True})
        async with working(client):
            await aeventually(lambda: tried.count(retried.id) == 2 and len(tried) > 2)
            await aeventually(
                lambda: sick.execute("SELECT count(*) FROM awa.dead_letters").fetchone() == (1,)
            )
            await client.flush_admin_metadata()
        operation = await client.submit_bulk_operation("delete", all=True)
        ended = await client.run_bulk_operation(operation.id)

    assert (ended.state, ended.errored) == ("completed", 0)
    assert ended.processed >= 2
    assert sick.execute("SELECT count(*) FROM awa.job_unique_claims").fetchone() == (0,)
    sick.execute("DROP PUBLICATION everything")
