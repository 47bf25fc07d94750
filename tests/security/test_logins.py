"""Each role of ``awa roles`` logs in with its password: what it may do, and what it is refused."""

from __future__ import annotations

import psycopg
import pytest
from fix_secure_server import LOGINS, PASSWORD
from fix_web import web_client
from fix_worker import Noop, working

import awa_lib as awa
from awa_lib.schema.roles import RIGHTS

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
# The page about roles, as commands: who may run them.
ALL = frozenset(LOGINS)
CHANGES = frozenset({"migrator", "runtime"})
LOOKS = CHANGES | {"readonly"}
COMMANDS = {
    "job enqueue k --args {}": CHANGES | {"producer"},
    "job list": LOOKS,
    "job show JOB": LOOKS,
    "job cancel JOB --yes": CHANGES,
    "queue list": LOOKS,
    "queue stats": LOOKS,
    "queue pause logins": CHANGES,
    "queue resume logins": CHANGES,
    "kind list": LOOKS,
    "cron list": LOOKS,
    "dlq list": LOOKS,
    "dlq enable logins": CHANGES,
    "batch list": LOOKS,
    "workers": LOOKS,
    "audit": LOOKS,
    "tui --screenshot PICTURE": LOOKS,
    "storage status": LOOKS,
    "storage prepare --engine e --yes": {"migrator"},
    "storage abort --yes": {"migrator"},
}


@pytest.fixture
def job(secure) -> int:
    """A job that may be shown and cancelled."""
    with awa.Client(secure.url("runtime")) as client:
        return client.insert(Noop(), queue="logins").id


@pytest.mark.parametrize("purpose", LOGINS)
@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_a_role(secure, offline, job, tmp_path, line, purpose) -> None:
    words = line.replace("JOB", str(job)).replace("PICTURE", str(tmp_path / "x.svg")).split()

    ran = offline("--database-url", secure.url(purpose), *words)

    assert PASSWORD not in ran.out + ran.err
    assert "Traceback" not in ran.err
    if purpose in COMMANDS[line]:
        assert ran.status == 0, ran.err
        return
    assert ran.status == 1, ran.out + ran.err
    assert "error: permission denied for " in ran.err
    assert "the role of this connection lacks the privilege" in ran.err
    assert "do: use a role that has it; awa roles prints" in ran.err


@pytest.mark.parametrize("purpose", LOGINS)
def test_the_privileges_of_a_login_are_exactly_the_listed_ones(secure, purpose) -> None:
    listed = {
        (right.object, right.privilege)
        for right in RIGHTS
        if right.purpose == purpose and right.kind == "table"
    }
    with psycopg.connect(secure.url(purpose), autocommit=True) as conn:
        assert conn.execute("SELECT session_user").fetchone() == (f"awa_{purpose}",)
        found = set(
            conn.execute(
                "SELECT relname, privilege FROM pg_class, unnest(%s::text[]) AS privilege"
                " WHERE relnamespace = 'awa'::regnamespace AND relkind IN ('r', 'v')"
                " AND has_table_privilege(oid, privilege)", [list(PRIVILEGES)],
            ).fetchall()
        )  # fmt: skip
        tables = {name for name, _ in found}
        makes = conn.execute(
            "SELECT has_schema_privilege('awa', 'CREATE'),"
            " has_database_privilege(current_database(), 'CREATE'),"
            " rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication"
            " FROM pg_roles WHERE rolname = session_user"
        ).fetchone()
    if purpose == "migrator":
        # As the owner.
        assert found == {(name, one) for name in tables for one in PRIVILEGES}
        assert (makes[0], makes[2]) == (True, False)
    else:
        assert found == listed
        assert makes == (False, False, False)


@pytest.mark.parametrize("purpose", LOGINS)
def test_who_may_migrate(secure, offline, purpose) -> None:
    """The ledger says that something is missing, so that there is something to do."""
    with secure.admin() as admin:
        (last,) = admin.execute("SELECT max(version) FROM awa.toolkit_migrations").fetchone()
        admin.execute("DELETE FROM awa.toolkit_migrations WHERE version = %s", [last])
        try:
            ran = offline("--database-url", secure.url(purpose), "migrate")
        finally:
            assert offline("--database-url", secure.url("migrator"), "migrate").status == 0
    assert "Traceback" not in ran.err
    if purpose == "migrator":
        assert ran.status == 0, ran.err
    else:
        assert ran.status == 1
        assert "permission denied" in ran.err
        assert "awa roles" in ran.err


@pytest.mark.parametrize("purpose", LOGINS)
def test_nobody_of_them_makes_roles(secure, offline, purpose) -> None:
    ran = offline("--database-url", secure.url(purpose), "roles", "--apply", "--prefix", "x_")

    assert ran.status == 1
    assert "permission denied" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("purpose", LOGINS)
async def test_who_may_work(secure, purpose) -> None:
    async with awa.AsyncClient(secure.url(purpose)) as client:

        @client.task(Noop, queue="logins")
        async def noop(job: awa.Job) -> None:
            pass

        if purpose in CHANGES:
            async with working(client, ("logins", 1)):
                pass
            return
        with pytest.raises(awa.AccessDenied, match="permission denied for") as denied:
            await client.start([("logins", 1)])
        assert "awa roles" in denied.value.hint


@pytest.mark.parametrize("purpose", LOGINS)
async def test_the_pages_of_a_role(secure, job, purpose, caplog) -> None:
    async with web_client(secure.url(purpose)) as client:
        looked = await client.get("/api/jobs")
        changed = await client.post(f"/api/jobs/{job}/cancel", json={})

    assert looked.status_code == (200 if purpose in LOOKS else 403), looked.text
    # For a role that may only look the whole server is one that changes nothing.
    refused = 503 if purpose == "readonly" else 403
    assert changed.status_code == (200 if purpose in CHANGES else refused), changed.text
    for answer in (looked, changed):
        if answer.status_code == 403:
            assert answer.json()["what"].startswith("permission denied for ")
            assert "awa roles" in answer.json()["do"]
    assert PASSWORD not in looked.text + changed.text + caplog.text
    assert "Traceback" not in caplog.text


def test_the_owner_does_not_log_in(secure, offline) -> None:
    with secure.admin() as admin:
        # Even with a password, which somebody could have given it.
        admin.execute("ALTER ROLE awa_owner PASSWORD 'given'")
        try:
            ran = offline("--database-url", secure.url("owner", password="given"), "job", "list")
        finally:
            admin.execute("ALTER ROLE awa_owner PASSWORD NULL")

    assert ran.status == 3
    assert 'role "awa_owner" is not permitted to log in' in ran.err
    assert "log in as a role that exists and has LOGIN; awa roles prints" in ran.err


@pytest.mark.parametrize("purpose", LOGINS)
def test_a_password_lets_in_its_role_alone(secure, offline, purpose) -> None:
    ran = offline("--database-url", secure.url(purpose, password="n0t-this"), "job", "list")

    assert ran.status == 3
    assert f'password authentication failed for user "awa_{purpose}"' in ran.err
    assert "n0t-this" not in ran.err
    assert secure.passwords[f"awa_{purpose}"].startswith("SCRAM-SHA-256$")
