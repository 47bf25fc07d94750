"""Modules and functions stay small: 400 lines and 50 lines at most."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*ROOT.glob("awa_lib/**/*.py"), *ROOT.glob("awa_cli/**/*.py")])


def too_long(path: Path) -> Iterator[str]:
    """Yield what is too long in a module."""
    source = path.read_text()
    lines = len(source.splitlines())
    if lines > 400:
        yield f"{path.relative_to(ROOT)}: {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > 50:
                yield f"{path.relative_to(ROOT)}: {node.name}: {lines} lines"


def test_modules_and_functions_are_small() -> None:
    """One test: one for each of 570 modules takes longer in pytest than in here."""
    assert [found for path in MODULES for found in too_long(path)] == []
