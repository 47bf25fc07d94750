"""One module opens connections; nobody else reaches for psycopg's own doors."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for package in ("awa_lib", "awa_cli")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != ROOT / "awa_lib/db/connect.py"
]
OPENS = re.compile(r"\b(psycopg|Connection)\.connect\(")


def test_no_other_module_opens_a_connection_itself() -> None:
    found = [str(path.relative_to(ROOT)) for path in SOURCES if OPENS.search(path.read_text())]

    assert found == []


def test_the_one_that_does_would_be_found() -> None:
    assert OPENS.search((ROOT / "awa_lib/db/connect.py").read_text())
