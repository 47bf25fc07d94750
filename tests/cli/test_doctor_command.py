"""``awa doctor``: its page, its data, and its exit codes."""

from __future__ import annotations

import subprocess

import psycopg
from fix_cli import argv, environment
from fix_doctor import instance
from psycopg.conninfo import make_conninfo

from awa_lib.doctor import CHECKS

WAIT = (
    "INSERT INTO awa.jobs_hot (kind, queue, run_at)"
    " SELECT 'send', 'email', now() - interval '5 min' FROM generate_series(1, 12)"
)


def test_all_is_well(ask, sick) -> None:
    instance(sick, leader="true")

    ran = ask("doctor")

    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"All is well: {len(CHECKS)} checks found nothing.\n"
    assert ask("doctor", "-o", "json").data == []
    assert ask("doctor", "-o", "wide").out == "No problems found.\n"


def test_notes_only_are_no_failure(ask) -> None:
    ran = ask("doctor")

    assert ran.status == 0
    assert ran.out == (
        "Fleet\n"
        "  note: no worker runs  [workers]\n"
        "   why: jobs are not run or rescued, and schedules do not fire\n"
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
        "    ok: the schema is as the migrations create it  [drift]\n\n"
        "Jobs\n    ok: ids are available  [ids]\n\n"
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
    assert "this URL connects through a transaction pooler" in ran.out
    assert process("doctor", "--fail-on", "error", url=pooled_url).status == 0


def test_completion_knows_the_checks(offline, monkeypatch) -> None:
    env = environment(None, _AWA_COMPLETE="bash", _AWA_LINE="awa doctor --check ho",
                      _AWA_WORD="ho")  # fmt: skip
    done = subprocess.run(argv(), env=env, capture_output=True, text=True, timeout=30)

    assert done.stdout.split() == ["=space", "horizon"]


def test_an_unreachable_server_exits_3(offline) -> None:
    assert offline("doctor", "--database-url", "postgresql://127.0.0.1:1/x").status == 3


def test_the_password_is_never_shown(ask, sick, sound_url, monkeypatch) -> None:
    url = make_conninfo(sound_url, password="hunter2-so-secret")
    monkeypatch.setenv("DATABASE_URL", url)
    with psycopg.connect(url, application_name="p") as conn:
        conn.execute("SELECT 1")
        ran = ask("doctor", "-v", "--all")

    assert "hunter2" not in ran.out + ran.err
