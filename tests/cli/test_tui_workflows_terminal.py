"""The workflows of the monitor, by keys at a terminal."""

from __future__ import annotations

import os

import pytest
from fix_cli import argv
from test_tui_terminal import Terminal, terminal_of  # noqa: F401 - a fixture

import awa_lib as awa


@pytest.fixture
def flow(database_url) -> awa.Workflow:
    with awa.Client(database_url) as client, client.workflow("import", key="today") as flow:
        parts = flow.add_many(({"n": n} for n in range(3)), kind="part", name="parts")
        flow.add({}, kind="merge", name="merge", after=parts)
    return flow


def test_from_the_list_to_a_job_and_back(terminal_of: Terminal, database_url, flow) -> None:  # noqa: F811 - the fixture
    process = terminal_of.start(argv("tui", "--screen", "workflows"), database_url)
    shown = terminal_of.until(b"today")
    os.write(terminal_of.leader, b"\r")
    shown = terminal_of.until(b"merge", shown)
    os.write(terminal_of.leader, b"\r")
    shown = terminal_of.until(b"parts[2]", shown)
    os.write(terminal_of.leader, b"\r")
    shown = terminal_of.until(b"Timeline", shown)
    os.write(terminal_of.leader, b"w")
    terminal_of.until(b"merge", shown)
    os.write(terminal_of.leader, b"q")

    assert terminal_of.wait(process) == 0
    assert terminal_of.modes == {b"25"}
