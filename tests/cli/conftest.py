"""Fixtures of the golden files and the schemas."""

from __future__ import annotations

import time

import pytest
from golden_runs import ENVIRONMENT, Place


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
