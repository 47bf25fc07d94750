"""SQL lives in sql/, each named block is used, and each use names a block with its parameters."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from awa_lib import _sql

ROOT = Path(__file__).resolve().parents[2]
QUERIES = ROOT / "sql" / "queries"
SOURCES = [*ROOT.glob("awa_lib/**/*.py"), *ROOT.glob("awa_cli/**/*.py")]
SQL_TEXT = re.compile(r"\b(SELECT\s|INSERT INTO\s|UPDATE\s+awa|DELETE FROM\s|CREATE TABLE\s)")


def uses() -> dict[tuple[str, str], set[tuple[str, ...] | None]]:
    """Collect ``sql.<noun>("<block>", **params)`` calls; None where parameters are not spelled out."""
    found: dict[tuple[str, str], set[tuple[str, ...] | None]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            if isinstance(owner, ast.Attribute) and node.func.attr == "copy":
                noun, owner = owner.attr, owner.value
            else:
                noun = node.func.attr
            if not (isinstance(owner, ast.Name) and owner.id == "sql" and node.args):
                continue
            names = {
                c.value
                for c in ast.walk(node.args[0])
                if isinstance(c, ast.Constant) and isinstance(c.value, str)
            }
            keys = [keyword.arg for keyword in node.keywords]
            params = None if None in keys or node.func.attr == "copy" else tuple(sorted(keys))
            for name in names:
                found.setdefault((noun, name), set()).add(params)
    return found


def blocks() -> dict[tuple[str, str], tuple[str, ...]]:
    return {
        (path.stem, name): tuple(sorted(query.params))
        for path in QUERIES.glob("*.sql")
        for name, query in _sql.parse(path.read_text()).items()
    }


def test_every_use_names_a_block_and_its_parameters() -> None:
    known = blocks()
    wrong = {
        use: params
        for use, calls in uses().items()
        for params in calls
        if use not in known or (params is not None and params != known[use])
    }

    assert wrong == {}


def test_every_block_says_what_it_is_for() -> None:
    silent = []
    for path in QUERIES.glob("*.sql"):
        parts = re.split(r"^-- name: (\w+)\s*$", path.read_text(), flags=re.MULTILINE)
        silent += [
            f"{path.stem}.{name}"
            for name, body in zip(parts[1::2], parts[2::2], strict=True)
            if not body.lstrip("\n").startswith("--")
        ]

    assert silent == []


def test_python_holds_no_sql() -> None:
    strings = [
        (path.name, node.value[:60])
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SQL_TEXT.search(node.value)
    ]

    assert strings == []
