"""A hint that names a command names one that exists, with options that it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from fix_cli import built

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"\bawa ((?:[a-z][a-z-]*|--[a-z-]+|[^\s,;()'\"`]+)(?: [^\s,;()'\"`]+)*)")
# Words that follow "awa" in a sentence.
PROSE = {"release", "schema", "0.5.7"}


def texts(node: ast.AST) -> str:
    """Return the text of an expression; ``X`` for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(texts(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "X"
    return " | ".join(texts(child) for child in ast.iter_child_nodes(node))


@cache
def hints() -> list[tuple[str, str]]:
    """Return every ``hint=``, given or a default, and every text in a call for one."""
    return list(walk())


def walk() -> Iterator[tuple[str, str]]:
    for path in sorted([*(ROOT / "awa_lib").rglob("*.py"), *(ROOT / "awa_cli").rglob("*.py")]):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)) if "hint" in source else ():
            where = path.relative_to(ROOT)
            if isinstance(node, ast.keyword) and node.arg == "hint":
                yield f"{where}:{node.value.lineno}", texts(node.value)
            if isinstance(node, ast.FunctionDef):
                named = [*node.args.args, *node.args.kwonlyargs]
                defaults = [*node.args.defaults, *node.args.kw_defaults]
                for one, default in zip(reversed(named), reversed(defaults), strict=False):
                    if one.arg == "hint" and default is not None:
                        yield f"{where}:{default.lineno}", texts(default)
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "hint" for target in node.targets
            ):
                yield f"{where}:{node.lineno}", texts(node.value)


def commands() -> Iterator[tuple[str, str]]:
    for where, text in hints():
        for found in COMMAND.finditer(text):
            line = found[1].rstrip(".:")
            if line.split()[0] not in PROSE:
                yield where, line


def problem(line: str) -> str | None:
    """Return what is wrong with a command line, if anything."""
    words = line.split()
    command = built()
    while hasattr(command, "commands") or hasattr(command, "list_commands"):
        if not words or words[0].startswith("-") or words[0].startswith("X"):
            break
        found = command.get_command(None, words[0])  # type: ignore[arg-type]
        if found is None:
            return f"no command {words[0]!r}"
        command, words = found, words[1:]
    known = {"--help"} | {
        option for one in command.params for option in (*one.opts, *one.secondary_opts)
    }
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and name not in known:
            return f"no option {name}"
    return None


def test_the_walk_finds_them() -> None:
    assert len(hints()) > 150
    assert ("awa_lib/errors.py", "job list") in {
        (where.partition(":")[0], line) for where, line in commands()
    }


@pytest.mark.parametrize(("line", "words"), [
    ("job lst", "no command 'lst'"), ("jobs", "no command 'jobs'"),
    ("job list --stat failed", "no option --stat"),
])  # fmt: skip
def test_a_wrong_one_would_be_found(line: str, words: str) -> None:
    assert problem(line) == words


def test_every_command_of_a_hint_exists() -> None:
    wrong = {f"{where}: awa {line}": why for where, line in commands() if (why := problem(line))}

    assert wrong == {}


# What cannot be undone: a hint leads out of trouble, and never deeper into it.
DESTROYING = re.compile(
    r"\bawa (dev reset|dlq purge|queue purge|job delete|callbacks forget)|\brm -|--force\b"
    r"|\b(delete|drop|truncate) (the|all|its) (data|rows|schema|jobs|queue)|\bkill -9 X?%|fuser -k",
    re.IGNORECASE,
)


# The queue is one that the benchmark made itself.
ITS_OWN = "awa_cli/bench/measure.py"


def test_no_hint_destroys() -> None:
    assert [
        (where, text)
        for where, text in hints()
        if DESTROYING.search(text) and not where.startswith(ITS_OWN)
    ] == []


@pytest.mark.parametrize("text", [
    "or delete the data: awa dev reset", "end them: fuser -k X", "awa dlq purge X",
])  # fmt: skip
def test_one_that_destroys_would_be_found(text: str) -> None:
    assert DESTROYING.search(text)
