"""The doctor on a sound server, and hands to break things with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.doctor import Finding, Limits, doctor


@pytest.fixture
def sick(sound_url: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection to a migrated database of a sound server, to break things with."""
    with psycopg.connect(sound_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def examined(sound_url: str) -> Iterator[Callable[..., list[Finding]]]:
    """Examine that database: ``examined("drift", …)`` returns what the check found."""
    with psycopg.connect(sound_url, autocommit=True) as conn:

        def examined(*checks: str, **options: object) -> list[Finding]:
            limits = Limits(**options.pop("limits", {}))
            return run(conn, doctor(checks or None, limits=limits, **options))

        yield examined


def brief(findings: list[Finding]) -> list[tuple[str, str, str | None]]:
    return [(one.check, one.severity.value, one.subject) for one in findings]


def obey(conn: psycopg.Connection, findings: list[Finding]) -> None:
    """Do what they say, statement by statement: some must not run in a transaction."""
    for one in findings:
        assert one.do is not None
        parts = [one.do] if "$function$" in one.do else one.do.splitlines()
        for part in parts:
            conn.execute(part.removeprefix("-- if you do not need it: "))


def instance(conn: psycopg.Connection, **columns: object) -> None:
    """Write the row of a live worker that has been up for ten minutes."""
    row = {
        "instance_id": "gen_random_uuid()", "hostname": "'host'", "pid": "1", "version": "'0.1'",
        "started_at": "now() - interval '10 minutes'", "last_seen_at": "now()",
        "snapshot_interval_ms": "10000", "healthy": "true", "postgres_connected": "true",
        "poll_loop_alive": "true", "heartbeat_alive": "true", "shutting_down": "false",
        "leader": "false", "maintenance_alive": "true", "queues": "'[]'", **columns,
    }  # fmt: skip
    conn.execute(
        f"INSERT INTO awa.runtime_instances ({', '.join(row)})"
        f" VALUES ({', '.join(map(str, row.values()))})"
    )


__all__ = ["awa", "brief", "instance", "obey"]
