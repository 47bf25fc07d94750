"""Every statement of sql/queries is one that the server can prepare."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from awa_lib import _sql

ROOT = Path(__file__).resolve().parents[2]
# Left out: lists of columns, statements that are printed for people, templates, tables of the demo.
NOUNS = sorted(
    {path.stem for path in ROOT.glob("sql/queries/*.sql")} - {"columns", "advice", "roles", "demo"}
)
# Others have no plan: COPY, LOCK.
PLANNED = re.compile(r"(WITH|SELECT|INSERT|UPDATE|DELETE)\b")


@pytest.mark.parametrize("noun", NOUNS)
def test_file(database_url: str, noun: str) -> None:
    refused = {}
    with psycopg.connect(database_url, autocommit=True) as conn:
        for name in _sql.blocks(noun):
            text = _sql.query(noun, name).text
            if PLANNED.match(text):
                try:
                    conn.execute(f"PREPARE tried AS {text}".encode())
                except psycopg.Error as error:
                    refused[name] = str(error)
                else:
                    conn.execute("DEALLOCATE tried")

    assert refused == {}
