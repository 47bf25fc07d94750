"""A host whose clock is wrong: what commands say and write goes by the clock of the database."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_cli import argv, environment

import awa_lib as awa
from awa_lib.enqueue.unique import unique_key

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
pytestmark = [
    pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt install libfaketime"),
    pytest.mark.parametrize("offset", ["-1h", "+1h", "+1d"]),
]


@pytest.fixture
def command(offset: str, database_url: str) -> Callable[..., str]:
    """Run a command on a host with a wrong clock; return what it prints."""
    clock = {"FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    wrong = environment(database_url, LD_PRELOAD=str(LIBRARY), **clock)

    def run(*words: str) -> str:
        done = subprocess.run(argv(*words), env=wrong, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_in_ten_minutes_is_meant_by_the_database(command, rows) -> None:
    command("job", "enqueue", "k", "--delay", "10m")
    row = rows.one("SELECT extract(epoch FROM run_at - now())::float8 AS seconds FROM awa.jobs")

    assert 500 < row["seconds"] < 601


def test_a_period_is_that_of_the_database(command, rows) -> None:
    command("job", "enqueue", "k", "--unique", "period=10m")
    row = rows.one(
        "SELECT unique_key, floor(extract(epoch FROM created_at) / 600)::bigint AS number"
        " FROM awa.jobs"
    )

    # The period may have ended between the question and the insert.
    keys = {unique_key("k", period=row["number"] - ago) for ago in (0, 1)}
    assert bytes(row["unique_key"]) in keys


def test_since_is_meant_by_the_database(command, database_url) -> None:
    with awa.Client(database_url) as client:
        job = client.insert({}, kind="k")
    found = [
        [one["id"] for one in json.loads(command("job", "list", option, "30m", "-o", "json"))]
        for option in ("--since", "--until")
    ]

    assert found == [[job.id], []]


def test_an_age_is_that_of_the_database(command, database_url) -> None:
    with awa.Client(database_url) as client:
        client.insert({}, kind="k")
    text = command("job", "list")

    assert re.search(r"\b\d{1,2}s ago|\bnow\b", text), text
