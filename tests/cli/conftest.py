"""Fixtures of the golden files and the schemas."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from fix_cli import environment
from golden_runs import ENVIRONMENT, GOLDEN, Place


@pytest.fixture(scope="module")
def terminals():
    """A process that runs commands at terminals; see golden_terminals.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWA_CONFIG", "")  # each request brings its own
        env = environment(None)
    with subprocess.Popen(
        [sys.executable, str(GOLDEN.parent / "golden_terminals.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
    ) as process:  # fmt: skip
        yield process
        process.stdin.close()


@pytest.fixture
def place(postgres, template, tmp_path, monkeypatch):
    """Make places: databases with the seed in them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    time.tzset()
    folder = tmp_path / "here"
    folder.mkdir()

    def make() -> Place:
        with postgres.database(template) as url, postgres.database() as empty:
            monkeypatch.setenv("DATABASE_URL", url)
            monkeypatch.setenv("HERE", url)
            return Place(url, empty, folder)

    return make
