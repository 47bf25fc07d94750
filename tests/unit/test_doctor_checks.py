"""Checks are pure functions: rows by hand, where the real thing would take gigabytes or years."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awa_cli.terminal.pages.doctor import doctor_page
from awa_lib.doctor import CHECKS, Finding, Limits, Severity
from awa_lib.doctor.catalog import definition, reference
from awa_lib.doctor.collect import COLLECTORS
from awa_lib.doctor.facts import IndexSize, Pin, Server, Table
from awa_lib.doctor.server import connections, wraparound
from awa_lib.doctor.tables import bloat, horizon

SERVER = Server(
    fsync=True, full_page_writes=True, synchronous_commit="on", autovacuum=True,
    track_counts=True, standby=False, slots=97, connections=10, notify_usage=0.0,
    database="app", frozen_age=50_000_000, role="awa_readonly", sees_all=True,
)  # fmt: skip
TABLE = Table(
    name="jobs_hot", unlogged=False, rows=1000, dead=0, changed=0, bytes=8192, row_bytes=200,
    readable=True, frozen_age=50_000_000, autovacuum=True, threshold=1000,
)  # fmt: skip


def test_every_need_of_a_check_has_a_collector() -> None:
    needs = {need for check in CHECKS.values() for need in check.needs}

    assert needs <= COLLECTORS.keys() | {"limits"}


def test_our_files_hold_the_definition_of_all_that_can_be_put_back() -> None:
    wanted = reference()
    keys = [name for name in wanted.indexes if not name.endswith("_pkey")]

    assert all(definition("index", name) for name in keys)
    assert all(definition("trigger", name) for _, name in wanted.triggers)
    assert all(definition("function", name.partition("(")[0]) for name in wanted.functions)
    assert definition("index", "no_such") is None


def test_a_full_queue_of_notifications_is_an_error() -> None:
    (found,) = connections(replace(SERVER, notify_usage=0.6), Limits())

    assert (found.severity, found.what) == (
        Severity.error, "the notification queue is 60% full",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("age", "severity"),
    [(999_999_999, None), (1_200_000_000, Severity.warning), (1_600_000_000, Severity.error)],
)
def test_old_rows_are_worse_the_older_they_are(age, severity) -> None:
    """The oldest table is named; the database only when no table of ours is to blame."""
    by_table = list(wraparound(SERVER, [replace(TABLE, frozen_age=age)], Limits()))
    by_database = list(wraparound(replace(SERVER, frozen_age=age), [TABLE], Limits()))

    assert [one.severity for one in by_table] == [severity] * (severity is not None)
    assert [one.do for one in by_table] == ["VACUUM (FREEZE) awa.jobs_hot;"] * len(by_table)
    assert [one.do for one in by_database] == ["VACUUM (FREEZE);"] * len(by_table)


def test_what_was_never_vacuumed_is_not_called_bloated() -> None:
    huge = 10**10
    sizes = [IndexSize("i", "jobs_hot", huge, -1)]

    assert list(bloat([replace(TABLE, rows=-1, bytes=huge)], sizes, Limits())) == []
    found = list(bloat([replace(TABLE, bytes=huge)], [replace(sizes[0], entries=5)], Limits()))
    assert [one.what.partition(" for about")[0] for one in found] == [
        "the table jobs_hot takes 9537 MB", "the index i takes 9537 MB",
    ]  # fmt: skip


def test_a_transaction_of_hours_is_an_error() -> None:
    pin = Pin("transaction", "psql", 7, 3 * 3600, 5, "ana, idle in transaction: SELECT 1")

    (found,) = horizon([pin], SERVER, Limits())

    assert found.severity == Severity.error
    assert found.what.startswith("session 7 (psql) has a transaction open for 3 h, 5 transactions")


def test_checks_that_are_blind_for_one_reason_share_a_line() -> None:
    blind = [
        Finding(name, Severity.warning, "not checked: no right", "why", "awa roles")
        for name in ("stuck", "orphans", "leader")
    ]

    page = doctor_page(blind, 28, width=80, color=False)

    assert "  warn: not checked: no right  [stuck, orphans]\n" in page
    assert "  warn: not checked: no right  [leader]\n" in page
    assert page.endswith("3 warnings; 25 checks found nothing.\n")
