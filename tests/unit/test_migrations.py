"""The scripts on disk: numbering, headers, and the published functions that read them."""

from __future__ import annotations

import re

import pytest

from awa_lib.schema.scripts import current_migration_version, load, migrations, migrations_range

PUBLISHED = {
    1: "Canonical schema with UI indexes",
    2: "Runtime observability snapshots",
    3: "Maintenance loop health in runtime snapshots",
    4: "Admin metadata cache tables",
    5: "Statement-level admin metadata triggers",
    6: "Dirty-key statement triggers for deadlock-free admin metadata",
    7: "Backoff interval creation avoids scientific-notation parse failures",
    9: "Queue and job-kind descriptor catalogs",
    10: "Storage transition metadata and canonical compat routing",
    11: "Storage transition self-heal: NULL-safe engine resolution and singleton re-seed",
}


def test_versions_and_descriptions_are_the_published_ones() -> None:
    assert {version: text for version, text, _ in migrations()} == PUBLISHED
    assert current_migration_version() == 11


def test_range_excludes_its_start_and_includes_its_end() -> None:
    assert [version for version, _, _ in migrations_range(6, 10)] == [7, 9, 10]
    assert migrations_range(7, 8) == []
    assert migrations_range(11, 11) == []


def test_ledger_is_first_and_toolkit_has_no_gap() -> None:
    toolkit = [item.version for item in load() if item.track == "toolkit"]

    assert load()[0].label == "T0000"
    assert toolkit == list(range(len(toolkit)))


def test_extracted_names_sort_in_order_of_application() -> None:
    names = [item.file_name for item in load()]

    assert names == sorted(names)
    assert names[:2] == ["0_T0000__create_ledger.sql", "1_V0001__create_job_tables.sql"]
    assert "2_T0002__batch_notify.sql" in names


@pytest.mark.parametrize("item", load(), ids=lambda item: item.label)
def test_script_records_its_own_version(item) -> None:
    table = "schema_version" if item.track == "canonical" else "toolkit_migrations"
    row = re.search(
        rf"INSERT INTO awa\.{table} \(version, (\w+)\)\nVALUES \((\d+), '(.+)'\);", item.sql
    )

    assert row is not None
    assert int(row[2]) == item.version
    assert row[3] == (item.description if item.track == "canonical" else item.name)


@pytest.mark.parametrize("item", load(), ids=lambda item: item.label)
def test_header_says_what_it_locks(item) -> None:
    header = item.sql.split("\n\n", 1)[0]

    assert re.search(r"^-- summary: .+$", header, re.MULTILINE)
    assert re.search(r"^-- breaking: (yes|no)$", header, re.MULTILINE)
    assert "-- Locks: " in header


@pytest.mark.parametrize(
    "item", [item for item in load() if not item.transactional], ids=lambda item: item.label
)
def test_script_outside_a_transaction_splits_into_single_statements(item) -> None:
    statements = item.statements()

    assert len(statements) > 1
    assert all(statement.count(";") <= 1 for statement in statements)
    assert "$function$" not in item.sql
    assert statements[-1].startswith("INSERT INTO awa.toolkit_migrations")
