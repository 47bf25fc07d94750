"""SQL lives in sql/, each named block is used, and each use names a block with its parameters."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from awa_lib import _sql
from awa_lib.filters import JobFilter
from awa_lib.models import BulkOperation, Job
from awa_lib.ops import batches
from awa_lib.ops.maintenance import Due, Pulse
from awa_lib.policies import QueuePolicy
from awa_lib.reads import activity, overviews, workflow_tasks
from awa_lib.reads.jobs import JobRow
from awa_lib.reads.workflows import WorkflowOverview

ROOT = Path(__file__).resolve().parents[2]
QUERIES = ROOT / "sql" / "queries"
SOURCES = [*ROOT.glob("awa_lib/**/*.py"), *ROOT.glob("awa_cli/**/*.py")]
# Anywhere in a text, or at its beginning; a backslash makes it a pattern.
SQL_TEXT = re.compile(
    r"\b(SELECT\s|INSERT INTO\s|UPDATE\s+awa|DELETE FROM\s|CREATE TABLE\s)"
    r"|^\s*((CREATE|ALTER|DROP)\s+(DATABASE|INDEX|ROLE|SCHEMA|TABLE)|VACUUM|ANALYZE|TRUNCATE|GRANT)"
    r"\b[^\\]*$"
)

FIELDS = {
    "job": list(inspect.signature(Job).parameters),
    "claimed_job": list(inspect.signature(Job).parameters),
    "job_row": [field.name for field in fields(JobRow)],
    "activity": [field.name for field in fields(activity._Row)],
    "bulk_operation": [field.name for field in fields(BulkOperation)],
    "bulk_task": [
        *[field.name for field in fields(batches._Task) if field.name != "where"],
        *JobFilter.__annotations__,
    ],
    "queue_policy": [field.name for field in fields(QueuePolicy)],
    "engine": ["engine"],  # a value, not a class
    "pulse": [field.name for field in fields(Pulse)],
    "first_due": ["scheduled", "retryable"],  # the states
    "due": list(Due._fields),
    "workflow": [field.name for field in fields(WorkflowOverview)],
    "workflow_node": list(workflow_tasks._Node._fields),
    "declaration": [field.name for field in fields(overviews._Declared)],
}

# Lists of conditions, which have no fields.
CONDITIONS = {"job_filter"}


def names_of(columns: str) -> list[str]:
    """Return the names of a column list: what follows AS, else the last part of the column."""
    depth, parts = 0, [""]
    for char in columns:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [re.split(r"[\s.]+", part.strip())[-1] for part in parts]


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
        (path.stem, name): tuple(sorted(_sql.query(path.stem, name).params))
        for path in QUERIES.glob("*.sql")
        for name in _sql.blocks(path.stem)
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


def test_every_column_list_has_the_fields_of_its_class() -> None:
    lists = {
        name: names_of(columns)
        for name, columns in _sql.column_lists().items()
        if name not in CONDITIONS
    }

    assert lists == FIELDS


def test_every_column_list_is_used() -> None:
    named = {
        name
        for path in QUERIES.glob("*.sql")
        if path.stem != "columns"
        for name in re.findall(r":(\w+)\.\*", path.read_text())
    }

    assert named == FIELDS.keys() | CONDITIONS


def test_an_unknown_column_list_is_refused_with_its_place() -> None:
    source = "-- name: get_job\n-- One job.\nSELECT :jobb.*\nFROM awa.jobs\n"

    with pytest.raises(ValueError, match=r"sql/queries/jobs\.sql, line 3: .*':jobb\.\*'"):
        _sql.expand("jobs", source)
