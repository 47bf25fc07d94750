"""A host whose clock is wrong: what commands say and write goes by the clock of the database."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import awa_lib as awa

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
pytestmark = [
    pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt install libfaketime"),
    pytest.mark.parametrize("offset", ["-1h", "+1h", "+1d"]),
]


@pytest.fixture
def wrong(monkeypatch, offset: str) -> None:
    monkeypatch.setenv("LD_PRELOAD", os.fspath(LIBRARY or ""))
    monkeypatch.setenv("FAKETIME", offset)
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")


def test_in_ten_minutes_is_meant_by_the_database(database_url, process, rows, wrong) -> None:
    ran = process("job", "enqueue", "k", "--in", "10m", url=database_url)

    assert ran.status == 0, ran.err
    row = rows.one("SELECT extract(epoch FROM run_at - now())::float8 AS seconds FROM awa.jobs")
    assert 540 < row["seconds"] < 601


def test_since_is_meant_by_the_database(database_url, process, wrong) -> None:
    with awa.Client(database_url) as client:
        job = client.insert({}, kind="k")
    found = [
        [one["id"] for one in json.loads(ran.out)]
        for words in (["--since", "30m"], ["--until", "30m"])
        if (ran := process("job", "list", *words, "-o", "json", url=database_url)).status == 0
    ]

    assert found == [[job.id], []]


def test_an_age_is_that_of_the_database(database_url, process, wrong) -> None:
    with awa.Client(database_url) as client:
        client.insert({}, kind="k")
    ran = process("job", "list", url=database_url)

    assert ran.status == 0, ran.err
    assert "1h" not in ran.out
    assert "1d" not in ran.out
    assert "59m" not in ran.out
    assert "23h" not in ran.out
