"""``sslmode=verify-full``, SCRAM-SHA-256 and channel binding, against a server that demands them."""

from __future__ import annotations

import subprocess

import psycopg
import pytest
from cli.serving import serving
from fix_cli import argv, environment
from fix_secure_server import LOGINS, PASSWORD
from fix_wait import aeventually
from fix_web import web_client
from fix_worker import Noop, working
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

import awa_lib as awa

WRONG_PASSWORD = "wr0ng-s3cret"
TLS_NAME = "set sslrootcert to the certificate of the authority that signed the server's"
# What is changed in the URL; what is said about it; what to do.
REFUSED = {
    "another authority": (
        {"sslrootcert": "stranger"}, "certificate verify failed", TLS_NAME,
    ),
    "no authority": (
        {"sslrootcert": "/nowhere.crt"}, "root certificate file", TLS_NAME,
    ),
    "another name": (
        {"host": "db.example.org"}, 'does not match host name "db.example.org"', "set host to a name",
    ),
    "plain": (
        {"sslmode": "disable", "channel_binding": None, "sslrootcert": None},
        "no encryption", "add sslmode=verify-full to the URL",
    ),
    "wrong password": (
        {"password": WRONG_PASSWORD}, "password authentication failed", "check the user and password",
    ),
    "no password": (
        {"password": None, "passfile": "/dev/null"}, "no password supplied",
        "check the user and password",
    ),
    "the owner": (
        {"user": "awa_owner"}, "password authentication failed", "check the user and password",
    ),
}  # fmt: skip


@pytest.fixture(params=REFUSED)
def refusal(request, over_tls):
    """A URL that is refused, what is said and what to do."""
    changes, says, hint = REFUSED[request.param]
    if changes.get("sslrootcert") == "stranger":
        changes = {**changes, "sslrootcert": over_tls.stranger}
    return over_tls.url("runtime", **changes), says, hint


def sessions(conn) -> list[tuple]:
    """Who is connected over the network: whether with TLS, and of which version."""
    return conn.execute(
        "SELECT usename, ssl, version FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
        " WHERE client_addr IS NOT NULL"
    ).fetchall()


def test_the_server_demands_what_this_is_about(over_tls) -> None:
    for purpose in LOGINS:
        assert over_tls.passwords[f"awa_{purpose}"].startswith("SCRAM-SHA-256$")
        with psycopg.connect(over_tls.url(purpose)) as conn, over_tls.admin() as admin:
            assert conn.info.password == PASSWORD
            assert conn.pgconn.used_password
            ((user, ssl, version),) = sessions(admin)
            # The migrator acts as the owner and logs in as himself.
            assert (user, ssl) == (f"awa_{purpose}", True)
            assert version.startswith("TLSv1.")


async def test_both_clients_and_a_worker_work_over_it(over_tls) -> None:
    url = over_tls.url("runtime")
    with awa.Client(url) as client, over_tls.admin() as admin:
        first = client.insert(Noop(1))
        assert [ssl for _, ssl, _ in sessions(admin)] == [True]
    async with awa.AsyncClient(url) as client:

        @client.task(Noop)
        async def noop(job: awa.Job) -> None:
            pass

        async with working(client):

            async def done() -> bool:
                return (await client.get_job(first.id)).state == awa.JobState.Completed

            await aeventually(done)
            with over_tls.admin() as admin:
                found = sessions(admin)
        assert len(found) > 3
        assert all(ssl for _, ssl, _ in found)


def test_the_command_and_the_monitor_work_over_it(over_tls, offline, tmp_path) -> None:
    url = over_tls.url("readonly")
    picture = tmp_path / "picture.svg"

    listed = offline("--database-url", url, "job", "list", "-o", "json")
    drawn = offline("--database-url", url, "tui", "--screenshot", picture)

    assert (listed.status, listed.err) == (0, "")
    assert drawn.status == 0, drawn.err
    assert "Overview" in picture.read_text()
    for text in (listed.out, drawn.out, drawn.err, picture.read_text()):
        assert PASSWORD not in text


async def test_the_web_server_works_over_it(over_tls) -> None:
    async with web_client(over_tls.url("readonly")) as client:
        assert (await client.get("/jobs")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        with over_tls.admin() as admin:
            found = sessions(admin)
    assert found
    assert all(ssl for _, ssl, _ in found)


def test_a_blocking_client_says_why_it_is_refused(refusal) -> None:
    url, says, hint = refusal
    with pytest.raises(awa.Unavailable) as refused:
        awa.Client(url).list_jobs()
    told(refused.value, says, hint)


async def test_an_async_client_and_a_worker_say_why(refusal) -> None:
    url, says, hint = refusal
    client = awa.AsyncClient(url)
    try:
        with pytest.raises(awa.Unavailable) as refused:
            await client.list_jobs()
        told(refused.value, says, hint)

        @client.task(Noop)
        async def noop(job: awa.Job) -> None:
            pass

        with pytest.raises(awa.Unavailable) as refused:
            await client.start([("default", 1)])
        told(refused.value, says, hint)
    finally:
        await client.close()


def told(error: awa.AwaError, says: str, hint: str) -> None:
    text = " ".join((str(error), error.why or ""))
    assert says in text
    assert error.hint.startswith(hint)
    assert "Traceback" not in text
    assert_secret_is_kept(f"{text} {error.hint} {error!r} {error.__cause__} {error.__notes__}")


def assert_secret_is_kept(text: str) -> None:
    for secret in (PASSWORD, WRONG_PASSWORD):
        assert secret not in text


@pytest.mark.parametrize("words", [("job", "list"), ("tui", "--screenshot", "x.svg"), ("doctor",)])
def test_a_command_says_why_it_is_refused(refusal, offline, words, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    url, says, hint = refusal

    ran = offline("--database-url", url, *words)

    what, why, do = ran.err.splitlines()
    assert (ran.status, ran.out) == (3, "")
    assert what.startswith("error: cannot connect to awa_")
    assert says in why
    assert do.strip().startswith(f"do: {hint}")
    assert_secret_is_kept(ran.err)


async def test_a_web_server_says_why_it_is_not_ready(refusal, caplog) -> None:
    """It starts, and asks the database again with each request."""
    url, says, hint = refusal
    async with web_client(url) as client:
        answer = await client.get("/api/stats")
        ready = await client.get("/readyz")

    assert (answer.status_code, ready.status_code) == (503, 503)
    problem = answer.json()
    assert says in problem["why"]
    assert problem["do"].startswith(hint)
    # Probes are not authenticated: they learn that it cannot connect.
    assert says not in ready.text
    assert "cannot connect" in ready.json()["reasons"][0]
    assert_secret_is_kept(answer.text + ready.text + caplog.text)


@pytest.mark.parametrize("name", ["another authority", "wrong password"])
def test_awa_serve_says_why_in_its_log(over_tls, name) -> None:
    changes, says, hint = REFUSED[name]
    if "sslrootcert" in changes:
        changes = {"sslrootcert": over_tls.stranger}
    with serving("serve", "--port", 0, url=over_tls.url("runtime", **changes)) as (
        process,
        _,
        line,
    ):
        process.stderr.readline()  # the name of the database
        said = process.stderr.readline()

    assert "not ready: cannot connect" in said
    assert says in said
    assert hint in said
    assert_secret_is_kept(line + said)


APP = """
import os, awa_lib
client = awa_lib.AsyncClient(os.environ["DATABASE_URL"])
@client.task(dict, kind="send")
async def send(job): pass
"""


@pytest.mark.parametrize("name", ["another authority", "wrong password"])
def test_awa_worker_says_why_it_is_refused(over_tls, tmp_path, name) -> None:
    (tmp_path / "shop.py").write_text(APP)
    changes, says, hint = REFUSED[name]
    if "sslrootcert" in changes:
        changes = {"sslrootcert": over_tls.stranger}

    ran = subprocess.run(
        argv("worker", "shop:client"), cwd=tmp_path, timeout=30, capture_output=True, text=True,
        env=environment(over_tls.url("runtime", **changes)),
    )  # fmt: skip

    assert ran.returncode == 3, ran.stderr
    assert says in ran.stderr
    assert hint in ran.stderr
    assert "Traceback" not in ran.stderr
    assert_secret_is_kept(ran.stderr + ran.stdout)


def test_channel_binding_needs_scram(over_tls) -> None:
    """A password that is kept as MD5 gives no channel binding: the client does not send it."""
    md5 = "md5" + "0" * 32
    role = sql.Identifier("awa_md5")
    with over_tls.admin() as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, md5))
        try:
            with pytest.raises(awa.Unavailable) as refused:
                awa.Client(over_tls.url("md5")).list_jobs()
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(role))
    assert_secret_is_kept(str(refused.value) + str(refused.value.why))


def test_channel_binding_needs_tls(over_tls) -> None:
    """By the socket there is none, and SCRAM alone does not do."""
    given = {"host": over_tls.own.place, "hostaddr": None, "sslmode": None, "sslrootcert": None}
    with awa.Client(over_tls.url("runtime", **given, channel_binding=None)) as client:
        assert client.queue_stats() is not None

    with pytest.raises(awa.Unavailable) as refused:
        awa.Client(over_tls.url("runtime", **given)).list_jobs()

    assert "channel binding" in refused.value.why
    assert refused.value.hint.startswith("channel_binding=require needs TLS")


def test_the_password_is_in_no_process_list(over_tls, tmp_path) -> None:
    """It comes in the environment, and the command does not write it to a command line."""
    url = over_tls.url("readonly")
    words = argv("job", "watch", 1)
    with subprocess.Popen(words, env=environment(url), stderr=subprocess.PIPE) as process:
        process.wait(timeout=30)
    assert PASSWORD not in " ".join(words)
    assert conninfo_to_dict(url)["password"] == PASSWORD
