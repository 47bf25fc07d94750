"""What the pages show is true: programs run and print what is said, parts of programs name what exists.

A block of Python is a program if it imports awa_lib by itself.  Other blocks are parts: they must
compile, and names, verbs and options of awa in them must exist.  The blocks of pages that are read
from top to bottom are files, and ``test_pages`` runs them.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fix_pages import FILE
from test_pages import PAGES

import awa_lib as awa

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"^(?P<indent> *)```python\n(?P<text>.*?)^ *```$(?:\n+It prints:\n\n```\n(?P<printed>.*?)^```$)?",
    re.S | re.M,
)
OF_OTHERS = re.compile(r"^(?:from|import) (?:celery|rq)\b", re.M)
WRITTEN = [
    ROOT / "README.md",
    *sorted(DOCS.glob("*.md")),
    *sorted(DOCS.glob("guides/*.md")),
    DOCS / "grafana" / "README.md",
]
# What the parts of programs call these is what the guides call them everywhere.
OBJECTS: dict[str, list[type]] = {
    "client": [awa.AsyncClient, awa.Client],
    "worker": [awa.AsyncClient],
    "jobs": [awa.AsyncClient, awa.Client],
    "tx": [awa.Transaction, awa.SyncTransaction],
}


def blocks() -> Iterator[tuple[str, str, str | None]]:
    for path in WRITTEN:
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path.stem}-{line}", textwrap.dedent(match["text"]), match["printed"]


def is_program(text: str) -> bool:
    return re.search(r"^(?:import awa_lib\b|from awa_lib\b)", text, re.M) is not None


ALONE = [one for one in blocks() if not FILE.match(one[1]) and not OF_OTHERS.search(one[1])]
PROGRAMS = [pytest.param(*one[1:], id=one[0]) for one in ALONE if is_program(one[1])]
PARTS = [pytest.param(one[1], id=one[0]) for one in ALONE if not is_program(one[1])]


def test_each_topic_has_a_program() -> None:
    topics = {
        "enqueueing", "handlers", "retries", "uniqueness", "callbacks", "cron", "concurrency",
        "middleware",
        "testing", "transactions", "events", "dead-letters", "bulk-operations", "observability",
        "failures", "doctor", "embedded", "worker", "from-celery", "from-rq", "from-river",
    }  # fmt: skip
    named = {program.id.rpartition("-")[0] for program in PROGRAMS}

    assert topics - named == set()


def test_files_are_on_pages_that_are_read_as_a_whole() -> None:
    """A block that is a file is tested there, or in the test of the README."""
    named = {one[0].rpartition("-")[0] for one in blocks() if FILE.match(one[1])}

    assert named == {"README", *(Path(page).stem for page in PAGES)}


@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_program_of_a_guide(
    program: str, printed: str | None, database_url: str, tmp_path: Path, place: Path
) -> None:
    run(program.replace('"embedded:"', f'"embedded:{place}"'), printed, database_url, tmp_path)


def run(program: str, printed: str | None, database_url: str, folder: Path) -> None:
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "DATABASE_URL": database_url, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert printed is None or done.stdout == printed


SQL = re.compile(r"^ *```sql\n(.*?)^ *```$", re.S | re.M)
STATEMENTS = [
    pytest.param(match[1], id=path.stem)
    for path in WRITTEN
    for match in SQL.finditer(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_sql_of_a_guide(statement: str, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        assert conn.execute(statement).fetchall() == [(1,)]


@pytest.mark.parametrize("text", PARTS)
def test_part_of_a_program(text: str) -> None:
    assert list(problems(text)) == []


def problems(text: str) -> Iterator[str]:
    """Yield what a part of a program says that is not so."""
    compile(text, "part", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            of, name = node.value.id, node.attr
            if of == "awa" and not hasattr(awa, name):
                yield f"awa.{name} does not exist"
            if of in OBJECTS and not any(hasattr(one, name) for one in OBJECTS[of]):
                yield f"{of}.{name} does not exist"
        if isinstance(node, ast.Call) and (called := callee(node.func)) is not None:
            known = inspect.signature(called).parameters
            takes_any = any(one.kind is one.VAR_KEYWORD for one in known.values())
            for word in node.keywords:
                if word.arg is not None and word.arg not in known and not takes_any:
                    yield f"{ast.unparse(node.func)} takes no {word.arg}"


def callee(func: ast.expr) -> Any:
    """Return what of awa is called, if it is that."""
    if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name):
        return None
    owners: list[Any] = [awa] if func.value.id == "awa" else OBJECTS.get(func.value.id, [])
    return next((getattr(one, func.attr) for one in owners if hasattr(one, func.attr)), None)


WRONG_PROGRAMS = {
    "an error": ("import awa_lib as awa\nawa.AsyncClient()\n", None),
    "another output": ("import awa_lib as awa\nprint(1)\n", "2\n"),
    "a warning": ("import awa_lib\nimport warnings\nwarnings.warn('x', stacklevel=1)\n", None),
}
WRONG_PARTS = {
    "a name": "awa.Fixd(5)\n",
    "a verb": "await client.inserts({}, kind='k')\n",
    "an option of a verb": "jobs.insert({}, kind='k', debonce=5)\n",
    "an option of a queue": "client.queue('mail', concurency=5)\n",
    "an option of a backoff": "awa.exponential(2, factr=2)\n",
}


@pytest.mark.parametrize(("program", "printed"), WRONG_PROGRAMS.values(), ids=WRONG_PROGRAMS)
def test_a_wrong_program_fails(program: str, printed: str | None, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run(program, printed, "postgresql://nowhere.invalid/x", tmp_path)


@pytest.mark.parametrize("text", WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_a_wrong_part_is_found(text: str) -> None:
    assert len(list(problems(text))) == 1
