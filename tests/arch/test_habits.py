"""Habits of the code: few positional parameters, and a reason beside each exception to a rule."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*ROOT.glob("awa_lib/**/*.py"), *ROOT.glob("awa_cli/**/*.py")])
MOST_POSITIONAL = 5
MOST_UNFORMATTED = 20
# Constructors that keep their order: the columns of a claimed row, and a signature of awa 0.5.
ORDERED = {"awa_lib/models.py": ["__init__"], "awa_lib/testing/_compat.py": ["__init__"]}
# What follows the rule's name must say why: ``
BARE = re.compile(
    r"#\s*(?:fmt: skip|type: ignore(?:\[[\w, -]+\])?|noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?)\s*$"
)


def comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def long_lists(source: str) -> list[str]:
    """Return the functions with more positional parameters than a caller can tell apart."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and len(
            [a for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in {"self", "cls"}]
        )
        > MOST_POSITIONAL
    ]


@cache
def source_comments(path: Path) -> list[tuple[int, str]]:
    """Return the comments of a module, which take long to find."""
    return list(comments(path.read_text()))


def test_few_positional_parameters() -> None:
    found = {str(path.relative_to(ROOT)): long_lists(path.read_text()) for path in MODULES}

    assert {path: names for path, names in found.items() if names} == ORDERED


def test_each_exception_to_a_rule_has_a_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in MODULES
        for line, text in source_comments(path)
        if BARE.search(text)
    ]

    assert bare == []


def test_the_formatter_formats() -> None:
    skipped = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in MODULES
        for line, text in source_comments(path)
        if "fmt: skip" in text
    ]

    assert len(skipped) < MOST_UNFORMATTED, skipped


def test_what_breaks_a_habit_would_be_found() -> None:
    assert long_lists("def f(self, a, b, c, d, e, f): ...") == ["f"]
    assert long_lists("def f(self, a, b, c, d, e, *, f): ...") == []
    for text in ("# fmt: skip", "# type: ignore[arg-type]", "# noqa: BLE001", "# noqa: A001, B002"):
        assert BARE.search(text)
        assert not BARE.search(f"{text} - a reason")
