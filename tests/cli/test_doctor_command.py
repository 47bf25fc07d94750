"""``awa doctor`` and ``awa roles``: pages, forms, exit codes, and errors of those who may not."""

from __future__ import annotations

import subprocess
import uuid

import psycopg
import pytest
from fix_cli import argv, environment
from fix_doctor import instance
from psycopg.conninfo import make_conninfo

from awa_lib.db.drive import run
from awa_lib.doctor import CHECKS
from awa_lib.ops.roles import apply_roles

WAIT = (
    "INSERT INTO awa.jobs_hot (kind, queue, run_at)"
    " SELECT 'send', 'email', now() - interval '5 min' FROM generate_series(1, 12)"
)


@pytest.fixture
def ask(offline, monkeypatch, sound_url):
    """Run the command on a database of the sound server."""
    monkeypatch.setenv("DATABASE_URL", sound_url)
    monkeypatch.setenv("COLUMNS", "80")
    return offline


def test_all_is_well(ask, sick) -> None:
    instance(sick, leader="true")

    ran = ask("doctor")

    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"All is well: {len(CHECKS)} checks found nothing.\n"
    assert ask("doctor", "-o", "json").data == []
    assert ask("doctor", "-o", "wide").out == "Nothing was found.\n"


def test_notes_only_are_no_failure(ask) -> None:
    ran = ask("doctor")

    assert ran.status == 0
    assert ran.out == (
        "Fleet\n"
        "  note: no worker runs  [workers]\n"
        "   why: nobody works jobs, rescues or fires schedules\n"
        "    do: awa worker MODULE:CLIENT\n\n"
        f"Nothing is wrong: 1 note; {len(CHECKS) - 1} checks found nothing.\n"
    )


def test_what_is_wrong_is_laid_out_for_80_columns(ask, sick) -> None:
    sick.execute(WAIT)
    sick.execute("CREATE INDEX mine ON awa.jobs_hot (created_at)")
    sick.execute("DROP FUNCTION awa.toolkit_recount; DROP INDEX awa.awa_jobs_hot_claim_by_key")

    ran = ask("doctor")

    assert ran.status == 6
    lines = ran.out.splitlines()
    commands = [line for line in lines if line.startswith(("    do:", "        CREATE"))]
    assert max(len(line) for line in lines if line not in commands) <= 80
    # What is to be copied is whole.
    assert "    do: awa worker MODULE:CLIENT --queue email" in commands
    (build,) = [line for line in commands if "CREATE INDEX CONCURRENTLY awa_jobs_hot" in line]
    assert build.endswith("metadata ? '_awa_concurrency_key';")
    assert (
        """    do: awa doctor --check drift -o template='{do}' | psql "$DATABASE_URL\""""
        in commands
    )
    assert lines[0] == "Schema"
    assert lines[-1] == f"2 errors, 2 warnings, 1 note; {len(CHECKS) - 3} checks found nothing."
    assert "\x1b" not in ran.out


def test_severities_show_without_colour_and_with(terminal, sick, sound_url) -> None:
    sick.execute(WAIT)

    plain = terminal("doctor", "--no-color", url=sound_url).out
    colored = terminal("doctor", url=sound_url).out

    assert " error: no worker works the queue email, where 12 jobs wait  [queues]\n" in plain
    assert "\x1b[1;31m error: \x1b[0mno worker works the queue email" in colored
    assert "\x1b" not in plain


def test_the_drift_is_mended_by_the_command_it_names(ask, sick, sound_url) -> None:
    sick.execute("DROP FUNCTION awa.toolkit_recount_if_due; DROP INDEX awa.idx_awa_jobs_hot_tags")
    sick.execute("CREATE INDEX mine ON awa.jobs_hot (created_at)")
    sick.execute("ALTER TABLE awa.queue_meta ADD COLUMN mine int")

    ran = ask("doctor", "--check", "drift", "-o", "template={do}")

    assert ran.status == 6
    done = subprocess.run(
        ["psql", "-v", "ON_ERROR_STOP=1", "-q", sound_url],
        input=ran.out, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    # What is not ours is left to people.
    left = ask("doctor", "--check", "drift", "-o", "json").data
    assert {one["subject"] for one in left} == {"mine", "queue_meta.mine"}


def test_checks_are_chosen_and_all_are_listed(ask) -> None:
    ran = ask("doctor", "--all", "-o", "json")
    assert [one["check"] for one in ran.data if one["severity"] == "ok"] == [
        name for name in CHECKS if name != "workers"
    ]
    assert set(ran.data[0]) == {"check", "severity", "what", "why", "do", "subject"}
    ran = ask("doctor", "--check", "ids,clock", "--check", "drift", "--all")
    assert ran.out == (
        "Schema\n"
        "    ok: tables, indexes, functions and triggers are as our files make them\n"
        "        [drift]\n\n"
        "Jobs\n    ok: there are ids for jobs  [ids]\n\n"
        "Fleet\n    ok: the clocks agree  [clock]\n\n"
        "All is well: 3 checks found nothing.\n"
    )
    wrong = ask("doctor", "--check", "horizn")
    assert wrong.status == 2
    assert "do: did you mean: horizon" in wrong.err


def test_what_fails_can_be_chosen(ask, sick) -> None:
    sick.execute("CREATE INDEX mine ON awa.jobs_hot (created_at)")

    assert ask("doctor").status == 6
    assert ask("doctor", "--fail-on", "error").status == 0
    assert ask("doctor", "--check", "horizon").status == 0
    sick.execute(WAIT)
    assert ask("doctor", "--fail-on", "error").status == 6
    assert ask("doctor", "--fail-on", "note").status == 2


def test_lists_come_in_all_forms(ask, sick) -> None:
    sick.execute(WAIT)

    assert ask("doctor", "-o", "ids").out == "queues\nworkers\n"
    header, first, _ = ask("doctor", "-o", "csv", "--columns", "check,subject").out.splitlines()
    assert (header, first) == ("check,subject", "queues,email")
    wide = ask("doctor", "-o", "wide").out.splitlines()
    assert wide[0].split() == ["SEVERITY", "CHECK", "SUBJECT", "WHAT", "WHY", "DO"]
    assert wide[1].startswith("error     queues   email    no worker works the queue email")


def test_names_draw_no_screens(ask, sick) -> None:
    sick.execute(WAIT.replace("'email'", r"E'e\x1b[31m'"))

    assert "\x1b" not in ask("doctor").out


def test_a_pooler_is_found_by_the_command(process, pooled_url) -> None:
    ran = process("doctor", "--check", "pooler", url=pooled_url)

    assert ran.status == 6
    assert "this URL leads through a pooler that changes connections" in ran.out
    assert process("doctor", "--fail-on", "error", url=pooled_url).status == 0


def test_completion_knows_the_checks(offline, monkeypatch) -> None:
    env = environment(None, _AWA_COMPLETE="complete_bash", COMP_WORDS="awa doctor --check ho",
                      COMP_CWORD="3")  # fmt: skip
    done = subprocess.run(argv(), env=env, capture_output=True, text=True, timeout=30)

    assert done.stdout.split() == ["horizon"]


def test_roles_are_printed_without_a_database(offline) -> None:
    ran = offline("roles", "--prefix", "shop_")

    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("BEGIN;\n")
    assert "CREATE ROLE %I" in ran.out
    assert 'TO "shop_runtime";' in ran.out
    assert offline("roles", "--prefix", 'x"; DROP').status == 2


def test_roles_are_applied(ask, sick) -> None:
    prefix = f"c{uuid.uuid4().hex[:6]}_"

    ran = ask("roles", "--prefix", prefix, "--apply")

    assert ran.status == 0
    assert ran.out.startswith(f"Roles are in place: {prefix}owner, {prefix}migrator, ")
    assert "password" in ran.err
    assert ask("roles", "--prefix", prefix, "--apply", "--quiet").err == ""


def test_roles_on_an_old_schema_exit_4(ask, sick) -> None:
    sick.execute("DELETE FROM awa.toolkit_migrations WHERE version = 12")

    ran = ask("roles", "--apply")

    assert (ran.status, ran.out) == (4, "")
    assert ran.err.endswith("   do: apply the migrations: awa migrate\n")


DENIED = [
    ["job", "list"],
    ["job", "show", 1],
    ["job", "retry", 1],
    ["job", "cancel", "--all", "--yes"],
    ["queue", "stats"],
    ["queue", "pause", "q"],
    ["queue", "list"],
    ["kind", "list"],
    ["cron", "list"],
    ["dlq", "list"],
    ["batch", "list"],
    ["workers"],
    ["health"],
    ["version", "--check"],
    ["storage", "status"],
    ["migrate"],
    ["roles", "--apply"],
]


@pytest.mark.parametrize("line", DENIED, ids=lambda line: " ".join(map(str, line)))
def test_who_lacks_a_right_is_told_in_three_lines(ask, sick, sound_url, monkeypatch, line) -> None:
    prefix = f"c{uuid.uuid4().hex[:6]}_"
    run(sick, apply_roles(prefix))
    monkeypatch.setenv("DATABASE_URL", make_conninfo(sound_url, user=f"{prefix}producer"))

    ran = ask(*line)

    assert (ran.status, ran.out) == (1, "")
    what, why, do = [one for one in ran.err.splitlines() if not one.startswith("database:")]
    assert what.startswith("error: permission denied ")
    assert why == "  why: the role of this connection lacks the privilege"
    assert do == "   do: use a role that has it; awa roles prints the roles and their privileges"


def test_a_producer_enqueues_and_a_reader_looks(ask, sick, sound_url, monkeypatch) -> None:
    prefix = f"c{uuid.uuid4().hex[:6]}_"
    run(sick, apply_roles(prefix))
    monkeypatch.setenv("DATABASE_URL", make_conninfo(sound_url, user=f"{prefix}producer"))
    ran = ask("job", "enqueue", "send_email", "--args", '{"to": "a"}', "--unique", "args")
    assert ran.status == 0, ran.err
    monkeypatch.setenv("DATABASE_URL", make_conninfo(sound_url, user=f"{prefix}readonly"))
    for line in (
        ["job", "list"], ["job", "show", 1], ["job", "dump", 1], ["queue", "stats"],
        ["queue", "list"], ["queue", "show", "default"], ["kind", "list"], ["cron", "list"],
        ["dlq", "list"], ["batch", "list"], ["workers"], ["health"], ["version", "--check"],
        ["storage", "status"], ["migrate", "--check"], ["doctor", "--fail-on", "error"],
        ["job", "wait", 1, "--for", "available"],
    ):  # fmt: skip
        ran = ask(*line)
        assert (line, ran.status, ran.err.count("error:")) == (line, 0, 0)
    assert ask("job", "cancel", 1).status == 1
    assert ask("queue", "pause", "default").status == 1


def test_a_migration_by_the_wrong_role_says_who_may(ask, sick, sound_url, monkeypatch) -> None:
    prefix = f"c{uuid.uuid4().hex[:6]}_"
    run(sick, apply_roles(prefix))
    sick.execute("DELETE FROM awa.toolkit_migrations WHERE version = 12")
    monkeypatch.setenv("DATABASE_URL", make_conninfo(sound_url, user=f"{prefix}runtime"))

    ran = ask("migrate")

    assert (ran.status, ran.out) == (1, "")
    assert "error: migration T0012" in ran.err
    assert "why: the role of this connection does not own what the migration changes" in ran.err
    monkeypatch.setenv("DATABASE_URL", make_conninfo(sound_url, user=f"{prefix}migrator"))
    assert ask("migrate").status == 0


def test_an_unreachable_server_exits_3(offline) -> None:
    assert offline("doctor", "--database-url", "postgresql://127.0.0.1:1/x").status == 3


def test_the_password_is_never_shown(ask, sick, sound_url, monkeypatch) -> None:
    url = make_conninfo(sound_url, password="hunter2-so-secret")
    monkeypatch.setenv("DATABASE_URL", url)
    with psycopg.connect(url, application_name="p") as conn:
        conn.execute("SELECT 1")
        ran = ask("doctor", "-v", "--all")

    assert "hunter2" not in ran.out + ran.err
