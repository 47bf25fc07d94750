"""Roles with the least rights: what each can do, and what it cannot."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, working
from psycopg.conninfo import make_conninfo

import awa_lib as awa
from awa_lib._sql import folder
from awa_lib.db.drive import run
from awa_lib.ops.audit import Entry, audited, forget_audit
from awa_lib.ops.inserts import insert
from awa_lib.ops.roles import apply_roles, role_script
from awa_lib.schema.migrate import apply, plan
from awa_lib.schema.roles import OF_COLUMNS, PURPOSES, RIGHTS, role_name

UNIQUE = {"by_args": True}
OLD_ENTRY = (
    "INSERT INTO awa.audit_log (at, actor, via, action, target)"
    " VALUES (now() - interval '200 days', 'mallory', 'cli', 'queue.purge', 'x')"
)


@pytest.fixture
def admin(sound_url) -> Iterator[psycopg.Connection]:
    with psycopg.connect(sound_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def prefix() -> str:
    return f"r{uuid.uuid4().hex[:8]}_"


@pytest.fixture
def as_role(admin, sound_url, prefix) -> Callable[[str], str]:
    """Make the roles, and return the URL to log in as one of them."""
    run(admin, apply_roles(prefix))
    return lambda purpose: make_conninfo(sound_url, user=prefix + purpose)


def refused(url: str, *statements: str) -> None:
    """Each of these statements is not allowed."""
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


def test_the_definition_names_what_there_is(admin) -> None:
    """Every table and sequence of the schema, and nothing else."""
    found = {
        name for (name,) in admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'awa'::regnamespace"
            " AND relkind IN ('r', 'v', 'S')"
        )
    }  # fmt: skip
    functions = dict(
        admin.execute(
            "SELECT proname, count(*) FROM pg_proc WHERE pronamespace = 'awa'::regnamespace"
            " GROUP BY 1"
        ).fetchall()
    )
    for purpose in ("runtime", "readonly"):
        named = {
            r.object for r in RIGHTS if r.purpose == purpose and r.kind in {"table", "sequence"}
        }
        # Those of identity columns: a reader needs it for pg_dump, who inserts does not.
        assert named | set(OF_COLUMNS) == found
    assert {functions[r.object] for r in RIGHTS if r.kind == "function"} == {1}


def test_the_script_is_what_is_applied_and_can_be_repeated(admin, prefix) -> None:
    script = role_script(prefix)
    admin.execute(script)
    before = acl(admin)
    assert any(f"{prefix}producer=a/" in str(row) for row in before)

    run(admin, apply_roles(prefix))
    admin.execute(script)

    assert acl(admin) == before


def acl(conn) -> list[tuple]:
    return conn.execute(
        "SELECT relname, relowner::regrole::text, relacl::text, '' FROM pg_class"
        " WHERE relnamespace = 'awa'::regnamespace"
        " UNION ALL SELECT attrelid::regclass::text, attname, attacl::text, ''"
        " FROM pg_attribute WHERE attacl IS NOT NULL"
        " UNION ALL SELECT defaclrole::regrole::text, defaclobjtype::text, defaclacl::text, ''"
        " FROM pg_default_acl ORDER BY 1, 2, 3"
    ).fetchall()


def test_what_was_granted_beyond_is_taken_back(admin, as_role, prefix) -> None:
    as_role("producer")
    admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA awa TO {prefix}producer, {prefix}readonly")
    admin.execute("GRANT SELECT ON awa.jobs TO PUBLIC")

    run(admin, apply_roles(prefix))

    url = as_role("producer")
    refused(
        url, "SELECT args FROM awa.jobs_hot", "SELECT 1 FROM awa.jobs", "DELETE FROM awa.jobs_hot"
    )
    refused(as_role("readonly"), "DELETE FROM awa.jobs_hot")


@pytest.mark.parametrize("name", ["", "1_", "a b", 'a"b', "a'b", "a$block$", "a" * 60, "a;"])
def test_names_that_are_none(name) -> None:
    if name == "":
        assert role_name("owner", name) == "owner"
        return
    with pytest.raises(awa.ValidationError, match="cannot begin the name of a role"):
        role_script(name)


def test_mixed_case_and_dashes_are_quoted(admin) -> None:
    prefix = f"My-App{uuid.uuid4().hex[:6]}-"

    run(admin, apply_roles(prefix))

    assert admin.execute(
        "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, %s)", [prefix]
    ).fetchone() == (len(PURPOSES),)


def test_roles_need_a_schema(sound, prefix) -> None:
    with sound.database() as url, psycopg.connect(url, autocommit=True) as conn:
        with pytest.raises(awa.SchemaNotMigrated):
            run(conn, apply_roles(prefix))

        assert (
            conn.execute(
                "SELECT 1 FROM pg_roles WHERE starts_with(rolname, %s)", [prefix]
            ).fetchall()
            == []
        )


def test_an_owner_who_is_no_superuser_makes_them(sound, admin, prefix) -> None:
    name = f"{prefix}dba"
    admin.execute(f"CREATE ROLE {name} LOGIN CREATEROLE CREATEDB")
    with psycopg.connect(sound.url_of("postgres"), user=name, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {prefix}app")
    with psycopg.connect(sound.url_of(f"{prefix}app"), user=name, autocommit=True) as conn:
        apply(conn)

        run(conn, apply_roles(prefix))
        run(conn, apply_roles(prefix))

        assert plan(conn).current
    with awa.Client(
        make_conninfo(sound.url_of(f"{prefix}app"), user=f"{prefix}producer")
    ) as client:
        client.insert(Noop())


def test_a_producer_inserts_workflows_after_an_upgrade(admin, as_role, prefix) -> None:
    """The migration that lets an insert write more columns grants them to whoever inserts."""
    text = (folder() / "migrations/toolkit/0029_move_workflows_faster.sql").read_text("utf-8")
    with awa.Client(as_role("producer")) as client:
        admin.execute(
            f"REVOKE INSERT (waiting, started) ON awa.workflows FROM {prefix}producer;"
            " REVOKE INSERT (state, parents_open, signals_open) ON awa.workflow_nodes"
            f" FROM {prefix}producer"
        )
        with pytest.raises(awa.AccessDenied), client.workflow("before") as flow:
            flow.add(Noop(1))
        admin.execute(text[text.index("DO $block$") :])
        for count in (3, 1500):
            with client.workflow("after") as flow:
                flow.add(Noop(0), after=flow.add_many([Noop(n) for n in range(count)]))
            assert flow.created


def test_a_producer_inserts_and_does_nothing_else(admin, as_role) -> None:
    url = as_role("producer")
    with awa.Client(url) as client:
        first = client.insert(Noop(1), unique_opts=UNIQUE)
        client.insert(Noop(2), run_at="2100-01-01T00:00:00Z")
        client.insert_many([Noop(3), Noop(4)], queue="q", tags=["t"], metadata={"a": 1})
        client.insert_many_copy([Noop(n) for n in range(100, 120)])
        client.insert_many_copy([Noop(5)], unique_opts=UNIQUE, on_conflict="skip")
        assert client.enqueue_many_copy(Noop(n) for n in range(200, 210)) == 10
        with pytest.raises(awa.UniqueConflict) as conflict:
            client.insert(Noop(1), unique_opts=UNIQUE)
        assert conflict.value.job_id == first.id
        assert client.insert(Noop(1), unique_opts=UNIQUE, on_conflict="skip") is None
        with client.transaction() as tx:
            tx.insert(Noop(6))
        for _ in range(2):
            with client.workflow("flow", key="k", on_conflict="keep") as flow:
                first_task = flow.add(Noop(7))
                flow.add_many([Noop(8), Noop(9)], after=first_task)
        assert flow.created is False
        for act in (
            lambda: client.get_job(first.id),
            client.list_jobs,
            lambda: client.cancel(first.id),
            lambda: client.retry(first.id),
            lambda: client.pause_queue("default"),
            client.queue_stats,
            lambda: client.insert(Noop(1), unique_opts=UNIQUE, on_conflict="return_existing"),
        ):
            with pytest.raises(awa.AccessDenied, match="permission denied for") as denied:
                act()
            assert denied.value.why
            assert "awa roles" in str(denied.value.hint)
    refused(
        url,
        "SELECT args FROM awa.jobs_hot",
        "SELECT * FROM awa.jobs",
        "UPDATE awa.jobs_hot SET state = 'running'",
        "DELETE FROM awa.jobs_hot",
        "INSERT INTO awa.bulk_operations (operation, filter, last_id, total_matched)"
        " VALUES ('delete', '{}', 1, 1)",
        "DELETE FROM awa.job_unique_claims",
        "CREATE TABLE awa.x ()",
        "SELECT nextval('awa.jobs_id_seq'), setval('awa.jobs_id_seq', 1)",
    )
    assert admin.execute("SELECT count(*) FROM awa.jobs").fetchone() == (37,)


async def test_the_runtime_works_jobs_and_leads(as_role) -> None:
    url = as_role("runtime")
    async with awa.AsyncClient(url) as client:

        @client.task(Noop)
        async def noop(job: awa.Job) -> None:
            if job.args.n == 7 and job.attempt == 1:
                raise RuntimeError("once")

        await client.set_queue_policy("limited", max_running=2, max_running_per_key=1)
        await client.set_dead_letters("default", True)
        async with working(client, ("default", 5), ("limited", 5)):
            await client.insert_many([Noop(n) for n in range(10)])
            await client.insert_many(
                [Noop(n) for n in range(10)], queue="limited", concurrency_key="k"
            )
            await client.insert(Noop(20), run_at="2020-01-01T00:00:00Z", unique_opts=UNIQUE)

            async def done() -> bool:
                stats = {one.queue: one for one in await client.queue_stats()}
                health = await client.health_check()
                ended = sum(stats[name].completed_last_hour for name in ("default", "limited"))
                return health.leader and ended == 21

            await aeventually(done, timeout=20)
            await client.flush_admin_metadata()
            operation = await client.submit_bulk_operation("delete", all=True)
            await aeventually(lambda: _ended(client, operation.id), timeout=20)
    refused(
        url,
        "CREATE TABLE awa.x ()",
        "DROP TABLE awa.jobs_hot",
        "ALTER TABLE awa.jobs_hot ADD COLUMN x int",
        "DELETE FROM awa.toolkit_migrations",
        "UPDATE awa.storage_transition_state SET current_engine = 'x'",
    )


def test_who_changes_jobs_answers_callbacks(admin, as_role) -> None:
    """The answer is kept by the same role; a reader can see it, a producer cannot."""
    put = (
        "INSERT INTO awa.jobs_hot (kind, queue, state, callback_id, callback_timeout_at)"
        " VALUES ('k', 'q', 'waiting_external', gen_random_uuid(), now() + interval '1 h')"
        " RETURNING id, callback_id::text"
    )
    answers = [
        (awa.Client.complete_external, "complete", "completed"),
        (awa.Client.resume_external, "resume", "running"),
        (lambda client, key: client.fail_external(key, "no"), "fail", "failed"),
    ]
    told = []
    with awa.Client(as_role("runtime")) as client:
        for act, action, state in answers:
            job_id, callback_id = admin.execute(put).fetchone()
            act(client, callback_id)
            told.append((job_id, action, state))
    look = "SELECT job_id, action, state::text FROM awa.answered_callbacks ORDER BY job_id"

    with psycopg.connect(as_role("readonly")) as conn:
        assert conn.execute(look).fetchall() == told
    refused(as_role("readonly"), "DELETE FROM awa.answered_callbacks")
    refused(as_role("producer"), look)
    refused(as_role("runtime"), "TRUNCATE awa.answered_callbacks")


async def _ended(client, operation_id) -> bool:
    return (await client.get_bulk_operation(operation_id)).state == "completed"


def test_a_reader_looks_and_changes_nothing(admin, as_role) -> None:
    url = as_role("readonly")
    with awa.Client(as_role("runtime")) as client:
        job = client.insert(Noop(1))
    with awa.Client(url) as client:
        assert client.get_job(job.id).args == {"n": 1}
        assert [one.id for one in client.list_jobs()] == [job.id]
        assert client.queue_stats()
        assert client.list_kinds()
        assert client.list_queues()
        for act in (
            lambda: client.insert(Noop()),
            lambda: client.cancel(job.id),
            lambda: client.insert_many_copy([Noop()]),
            lambda: client.pause_queue("default"),
            client.flush_admin_metadata,
        ):
            with pytest.raises(awa.AccessDenied):
                act()
    with psycopg.connect(url, autocommit=True) as conn:
        tables = [r.object for r in RIGHTS if r.purpose == "readonly" and r.kind == "table"]
        for table in tables:
            conn.execute(f"SELECT * FROM awa.{table}")
    refused(
        url,
        *(f"DELETE FROM awa.{table}" for table in tables),
        "SELECT nextval('awa.jobs_id_seq')",
        "CREATE TABLE awa.x ()",
    )


@pytest.mark.parametrize("purpose", ["readonly", "producer"])
def test_nobody_but_workers_lets_entries_of_the_audit_log_go(admin, as_role, purpose) -> None:
    url = as_role(purpose)
    admin.execute(OLD_ENTRY)
    refused(
        url,
        "SELECT awa.forget_audit(0)",
        "DELETE FROM awa.audit_log",
        "UPDATE awa.audit_log SET actor = 'x'",
        "TRUNCATE awa.audit_log",
    )
    assert admin.execute("SELECT count(*) FROM awa.audit_log").fetchone() == (1,)


def test_workers_keep_the_audit_log_for_a_while(admin, as_role) -> None:
    """The duty of the leader; it cannot delete what is younger than 90 days, nor rewrite."""
    url = as_role("runtime")
    admin.execute(OLD_ENTRY)
    with psycopg.connect(url, autocommit=True) as conn:
        assert run(conn, forget_audit(100)) == 1
    refused(url, "DELETE FROM awa.audit_log", "UPDATE awa.audit_log SET actor = 'x'")


@pytest.mark.parametrize("purpose", ["runtime", "producer"])
def test_who_adds_an_entry_cannot_say_when_or_as_whom(admin, as_role, purpose, prefix) -> None:
    url = as_role(purpose)
    forged = (
        "INSERT INTO awa.audit_log (actor, via, action, target, {}) VALUES ('a', 'b', 'c', 'd', {})"
    )
    refused(
        url,
        forged.format("at", "'2020-01-01'"),
        forged.format("database_user", "'mallory'"),
        forged.format("address", "'10.0.0.1'"),
    )
    with psycopg.connect(url, autocommit=True) as conn:
        run(conn, audited(insert({}, kind="k"), Entry("alice", "cli", "job.enqueue", "k")))

    assert admin.execute("SELECT actor, database_user FROM awa.audit_log").fetchone() == (
        "alice", f"{prefix}{purpose}",
    )  # fmt: skip


def test_functions_with_the_rights_of_the_owner_are_for_those_who_need_them(admin, prefix) -> None:
    """Fails when one is added: say in awa_lib.schema.roles who may call it."""
    functions = admin.execute(
        "SELECT oid::regprocedure::text, proname FROM pg_proc"
        " WHERE pronamespace = 'awa'::regnamespace AND prosecdef"
    ).fetchall()
    assert functions
    run(admin, apply_roles(prefix))

    for signature, name in functions:
        for purpose in ("runtime", "producer", "readonly"):
            (may,) = admin.execute(
                "SELECT has_function_privilege(%s, %s, 'EXECUTE')", [prefix + purpose, signature]
            ).fetchone()
            fair = any(r.object == name and r.purpose == purpose for r in RIGHTS)
            assert may == fair, (purpose, signature)


def test_a_migration_takes_back_what_roles_of_ones_own_had_beyond(admin, prefix) -> None:
    """Roles that were made by hand, before: who may delete jobs lets old entries go."""
    worker, reader = f"{prefix}worker", f"{prefix}reader"
    for role in (worker, reader):
        admin.execute(f"CREATE ROLE {role}")
    try:
        admin.execute("GRANT EXECUTE ON FUNCTION awa.forget_audit TO PUBLIC")
        admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON awa.jobs_hot TO {worker}")
        admin.execute(f"GRANT ALL ON awa.audit_log TO {worker}")
        admin.execute(f"GRANT SELECT ON awa.jobs_hot, awa.audit_log TO {reader}")
        admin.execute("DELETE FROM awa.toolkit_migrations WHERE version = 15")
        apply(admin)

        def may(role: str, privilege: str) -> bool:
            (held,) = admin.execute(
                "SELECT has_table_privilege(%s, 'awa.audit_log', %s)", [role, privilege]
            ).fetchone()
            return held

        assert [
            p for p in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE") if may(worker, p)
        ] == ["SELECT"]
        calls = "SELECT has_function_privilege(%s, 'awa.forget_audit(int)', 'EXECUTE')"
        assert admin.execute(calls, [worker]).fetchone() == (True,)
        assert admin.execute(calls, [reader]).fetchone() == (False,)
        adds = "SELECT has_column_privilege(%s, 'awa.audit_log', %s, 'INSERT')"
        assert admin.execute(adds, [worker, "actor"]).fetchone() == (True,)
        assert admin.execute(adds, [worker, "at"]).fetchone() == (False,)
    finally:
        for role in (worker, reader):
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def test_the_migrator_migrates_and_what_it_makes_is_the_owners(admin, as_role, prefix) -> None:
    url = as_role("migrator")
    with psycopg.connect(url, autocommit=True) as conn:
        assert conn.execute("SELECT session_user, current_user").fetchone() == (
            f"{prefix}migrator", f"{prefix}owner",
        )  # fmt: skip
        conn.execute("DELETE FROM awa.toolkit_migrations WHERE version > 1")
        applied = apply(conn)
        conn.execute("CREATE TABLE awa.later (id int)")

    assert len(applied) > 5
    with psycopg.connect(as_role("runtime"), autocommit=True) as conn:
        conn.execute("INSERT INTO awa.later VALUES (1)")
    with psycopg.connect(as_role("readonly"), autocommit=True) as conn:
        conn.execute("SELECT * FROM awa.later")
    refused(as_role("producer"), "SELECT * FROM awa.later", "SELECT * FROM awa.bulk_operations")
    with awa.Client(as_role("producer")) as client:
        client.insert(Noop())


def test_an_empty_database_is_migrated_by_the_migrator(sound, admin, as_role, prefix) -> None:
    """The roles are there from another database; the owner may make the schema in this one."""
    as_role("migrator")
    with sound.database() as url:
        with psycopg.connect(url, autocommit=True) as conn:
            name = conn.info.dbname
            conn.execute(f'GRANT CREATE ON DATABASE "{name}" TO {prefix}owner')
        with psycopg.connect(url, user=f"{prefix}migrator", autocommit=True) as conn:
            apply(conn)
            assert plan(conn).current


def test_nobody_else_migrates(admin, as_role) -> None:
    url = as_role("runtime")
    admin.execute("DELETE FROM awa.toolkit_migrations WHERE version > 3")
    with psycopg.connect(url, autocommit=True) as conn:
        with pytest.raises(awa.AccessDenied, match="migration T0004") as denied:
            apply(conn)
    assert "awa roles" in str(denied.value.hint)


def test_who_may_not_make_roles_is_told(as_role, prefix) -> None:
    with psycopg.connect(as_role("runtime"), autocommit=True) as conn:
        with pytest.raises(awa.AccessDenied, match="permission denied"):
            run(conn, apply_roles(f"{prefix}2_"))
