"""No cycle among modules, every import counted: deferred and type-only ones too."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("awa_lib", "awa_cli")
# Modules at a package's root are what many rooms share: few.
MOST_LOOSE = {"awa_lib": 16, "awa_cli": 10}


def modules() -> dict[str, Path]:
    """Return the file of every module, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, known: set[str]) -> set[str]:
    """Return the modules among ``known`` that a source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in names}
    return found & known


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            at = stack.index(name)
            members = stack[at:]
            del stack[at:]
            if len(members) > 1:
                found.append(sorted(members))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_no_cycle_among_modules() -> None:
    files = modules()
    graph = {name: imports(path.read_text(), set(files)) - {name} for name, path in files.items()}

    assert cycles(graph) == []


def test_a_cycle_would_be_found() -> None:
    deferred = "def f():\n    from awa_lib import b\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from awa_lib.a import X\n"
    known = {"awa_lib.a", "awa_lib.b", "awa_lib.c"}
    graph = {
        "awa_lib.a": imports(deferred, known),
        "awa_lib.b": imports(typed, known),
        "awa_lib.c": imports("import awa_lib.a\n", known),
    }

    assert cycles(graph) == [["awa_lib.a", "awa_lib.b"]]


def test_few_modules_are_loose() -> None:
    loose = {
        package: sorted(
            path.stem for path in (ROOT / package).glob("*.py") if not path.stem.startswith("__")
        )
        for package in PACKAGES
    }

    assert {
        name: len(found) for name, found in loose.items() if len(found) > MOST_LOOSE[name]
    } == {}
