"""``awa migrate``: what it prints, its exit codes, and that it stops where it is told."""

from __future__ import annotations

import json
import re

import psycopg
import pytest

from awa_cli.main import main
from awa_lib.schema.scripts import load


@pytest.fixture
def awa(capsys, monkeypatch, empty_database_url):
    """Run the command on an empty database; return (status, stdout, stderr)."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    def run(*args) -> tuple[int, str, str]:
        status = main(["migrate", *map(str, args)])
        return (int(status), *capsys.readouterr())

    return run


@pytest.fixture
def offline(capsys, monkeypatch):
    """Run the command without a database."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*args) -> tuple[int, str, str]:
        status = main(["migrate", *map(str, args)])
        return (int(status), *capsys.readouterr())

    return run


def versions(url) -> list[int]:
    with psycopg.connect(url) as conn:
        return [row[0] for row in conn.execute("SELECT version FROM awa.schema_version ORDER BY 1")]


def test_applies_says_so_and_has_nothing_left(awa) -> None:
    status, out, err = awa()
    assert (status, out) == (0, "Migrations applied successfully.\n")
    assert "Applied: V1 Canonical schema with UI indexes" in err
    assert "Applied: T0004" in err

    assert awa() == (0, "Schema is up to date (version 11).\n", awa()[2])
    assert awa("--pending")[:2] == (0, "Schema is up to date (version 11).\n")
    assert awa("--sql", "--pending")[:2] == (0, "")
    assert awa("--sql", "--pending")[2].endswith("Schema is up to date (version 11).\n")


def test_applying_honours_to(awa, empty_database_url) -> None:
    assert awa("--to", 3)[0] == 0
    assert versions(empty_database_url) == [1, 2, 3]
    assert awa("--pending", "--to", 5)[0] == 0
    assert versions(empty_database_url) == [1, 2, 3, 4, 5]


def test_check_exits_4_while_anything_is_pending(awa) -> None:
    status, out, _ = awa("--check")
    assert status == 4
    assert "Pending: V11 " in out

    awa("--to", 11)
    assert awa("--check")[:2] == (0, "Schema is up to date (version 11).\n")


def test_dry_run_lists_and_applies_nothing(awa, empty_database_url) -> None:
    status, out, _ = awa("--dry-run", "--to", 2)

    assert status == 0
    assert [line.split()[1] for line in out.splitlines()] == ["T0000", "V1", "V2"]
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT to_regnamespace('awa')").fetchone() == (None,)


def test_json_tells_scripts_what_was_done(awa) -> None:
    found = json.loads(awa("--check", "-o", "json")[1])
    done = json.loads(awa("-o", "json")[1])

    assert found["current"] is False
    assert found["pending"] == done["applied"]
    assert done["version"] == 11
    assert done["applied"][1] == {
        "label": "V1",
        "track": "canonical",
        "version": 1,
        "description": "Canonical schema with UI indexes",
        "breaking": False,
    }


def test_foreign_schema_exits_4(awa, empty_database_url) -> None:
    awa()
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("INSERT INTO awa.schema_version VALUES (40, 'x')")

    status, out, err = awa()
    assert (status, out) == (4, "")
    assert "error: schema version 40 was found, made by awa 0.6 or later" in err


def test_a_forgotten_url_fails(offline) -> None:
    for args in ((), ("--check",), ("--sql", "--pending")):
        status, out, err = offline(*args)
        assert (status, out) == (2, "")
        assert "DATABASE_URL" in err


def test_sql_prints_published_headers_without_a_database(offline) -> None:
    status, out, _ = offline("--sql", "--from", 1, "--to", 3)

    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("-- Migration")] == [
        "-- Migration V2: Runtime observability snapshots",
        "-- Migration V3: Maintenance loop health in runtime snapshots",
    ]


def test_sql_of_everything_can_be_applied_as_it_is_printed(
    awa, offline, empty_database_url
) -> None:
    script = offline("--sql")[1]
    statement = ""
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        # As psql does: a transaction block in one go, what is outside one statement at a time.
        for block in script.split("BEGIN;\n"):
            inside, _, outside = block.rpartition("COMMIT;\n")
            conn.execute(inside)
            for statement in outside.split(";\n"):
                conn.execute(statement)

    assert main(["migrate", "--check", "--database-url", empty_database_url]) == 0


@pytest.mark.parametrize(
    ("args", "out", "err"),
    [
        (["--sql", "--version", "8"], "", "No migrations matched the selected range.\n"),
        (["--sql", "--from", "11", "--to", "11"], "", "No migrations in range (11, 11].\n"),
        (["--extract-to", "x", "--from", "5", "--to", "2"], "", "No migrations in range (5, 2].\n"),
    ],
)
def test_empty_ranges_say_so(offline, args, out, err) -> None:
    assert offline(*args) == (0, out, err)


def test_extracted_names_sort_in_order_of_application_in_a_folder_with_spaces(
    offline, tmp_path
) -> None:
    folder = tmp_path / "my scripts" / "awa sql"
    status, out, _ = offline("--extract-to", folder, "--version", 4)
    path = folder / "1_V0004__cache_admin_counts.sql"

    assert (status, out) == (0, f"Extracted: {path}\n")
    assert "CREATE TABLE awa.queue_state_counts" in path.read_text()

    assert offline("--extract-to", folder)[0] == 0
    names = [item.name for item in sorted(folder.iterdir())]
    assert all(re.fullmatch(r"[0-2]_[VT]\d{4}__[a-z0-9_]+\.sql", name) for name in names)
    in_order = ["".join(item.sql.split()) for item in load()]
    assert ["".join((folder / name).read_text().split()) for name in names] == in_order


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--version", "99", "--sql"], "Version 99 is out of range. Valid versions: 1..11"),
        (["--to", "12", "--sql"], "Version 12 is out of range"),
        (["--version", "3", "--to", "5", "--sql"], "--version cannot be used with"),
        (["--pending", "--from", "3", "--sql"], "--pending cannot be used with"),
        (["--from", "3"], "add --sql or --extract-to, or use --to"),
        (["--check", "--sql"], "cannot be used with --sql"),
    ],
)
def test_senseless_flags_are_refused(offline, args, says) -> None:
    status, out, err = offline(*args)

    assert (status, out) == (2, "")
    assert says in err
