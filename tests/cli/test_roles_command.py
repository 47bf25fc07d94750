"""``awa roles``, and what commands say to a role that lacks a privilege."""

from __future__ import annotations

import uuid

import pytest
from psycopg.conninfo import make_conninfo

from awa_lib.db.drive import run
from awa_lib.ops.roles import apply_roles


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
    said = (
        f"why: the role {prefix}runtime does not own what the migration changes; {prefix}owner does"
    )
    assert said in ran.err
    monkeypatch.setenv("DATABASE_URL", make_conninfo(sound_url, user=f"{prefix}migrator"))
    assert ask("migrate").status == 0
