#!/usr/bin/env python3
"""Remove guards from the code, one by one: the test that guards.toml names must fail.

python formal/remove.py [--jobs N] [MODEL | GUARD | MODEL.GUARD ...]
python formal/remove.py --quick       # those that CI runs
python formal/remove.py --table       # writes formal/guards.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext
    from multiprocessing.process import BaseProcess

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = HERE / "guards.toml"
PAGE = HERE / "guards.md"
# What tests need of the checkout.
COPIED = ("awa_lib", "awa_cli", "sql", "tests", "formal", "pyproject.toml")
# One server for all: to make one takes longer than most tests.
SERVER = "AWA_TEST_DATABASE_URL"
# Statements that are changed can be prepared.
SOUND = "tests/db/test_prepares.py"
# How an assertion and a bound fail.  Anything else would also come of a broken statement.
ASSERTED = re.compile(r"assert\b|AssertionError|Failed: |TimeoutError")
TEST_SECONDS, RUN_SECONDS = 60, 180
KEYS = {"place", "old", "new", "also", "test", "raises", "note", "quick", "none"}
TWIN = re.compile(r"^//! twin: NO_(\w+) breaks (\w+ \w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Edit:
    """A change of the text of a place: a module, or a block of an SQL file."""

    place: str
    old: str
    new: str

    @property
    def path(self) -> Path:
        """Return the file below the root of the checkout."""
        file = self.place.partition(":")[0]
        if file.endswith(".py"):
            return Path(file)
        (found,) = [path for path in ROOT.glob("sql/**/*.sql") if path.name == file]
        return found.relative_to(ROOT)

    @property
    def block(self) -> str | None:
        """Return the name of the block of ``sql/queries`` that is changed."""
        return self.place.partition(":")[2] if self.path.parent.name == "queries" else None

    def change(self, text: str) -> str:
        """Change the text of the file.  Raises ValueError unless what is changed is there once."""
        before = after = ""
        if self.block is not None:
            word = "columns" if self.path.name == "columns.sql" else "name"
            before, head, text = text.partition(f"-- {word}: {self.block}\n")
            if not head:
                raise ValueError(f"{self.place}: there is no such block")
            text, next_head, after = text.partition(f"\n-- {word}: ")
            before, after = before + head, next_head + after
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.place}: the text is there {found} times: {self.old!r}")
        return before + text.replace(self.old, self.new) + after

    def apply(self, root: Path) -> None:
        """Change the file below a folder."""
        path = root / self.path
        path.write_text(self.change(path.read_text()))


@dataclass(frozen=True)
class Removal:
    """A guard, or its part at one place, and what fails without it."""

    model: str
    guard: str
    breaks: str
    edits: list[Edit] = field(default_factory=list)
    test: str = ""
    raises: str | None = None
    note: str = ""
    quick: bool = False

    @property
    def name(self) -> str:
        """Return the name of the guard with that of its model."""
        return f"{self.model}.{self.guard}"

    @property
    def place(self) -> str:
        """Return where the code is changed."""
        return ", ".join(dict.fromkeys(edit.place for edit in self.edits))


class Survived(Exception):
    """A removal that the test does not notice, or that it fails for another reason."""


def read(path: Path = DATA) -> list[Removal]:
    """Read the removals of all guards, in the order of the file."""
    removals = []
    for model, guards in tomllib.loads(path.read_text()).items():
        twins = dict(TWIN.findall((HERE / f"{model}.pml").read_text()))
        for guard, entries in guards.items():
            if guard not in twins:
                raise SystemExit(f"{path.name}: {model}.pml has no twin NO_{guard}")
            removals += [_removal(model, guard, twins[guard], entry) for entry in entries]
    return removals


def _removal(model: str, guard: str, breaks: str, entry: dict[str, Any]) -> Removal:
    if unknown := set(entry) - KEYS:
        raise SystemExit(f"{DATA.name}: {model}.{guard}: unknown {', '.join(sorted(unknown))}")
    if "none" in entry:
        return Removal(model, guard, breaks, note=entry["none"])
    edits = [Edit(each["place"], each["old"], each.get("new", ""))
             for each in (entry, *entry.get("also", ()))]  # fmt: skip
    return Removal(
        model,
        guard,
        breaks,
        edits,
        entry["test"],
        entry.get("raises"),
        entry.get("note", ""),
        entry.get("quick", False),
    )


def table(removals: list[Removal]) -> str:
    """Return the page that lists them."""
    lines = [
        "# Guards and tests",
        "",
        "Written by `python formal/remove.py --table` from `guards.toml`.",
        "Each line is a change of the code that removes a guard at one place.",
        "With it the test fails, as the twin's property does in the model.",
        "",
        "| guard | twin's property | removed in | test that fails |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{each.name}` | `{each.breaks}` | {_place(each)} | {_test(each)} |" for each in removals
    ]
    return "\n".join(lines) + "\n"


def _place(removal: Removal) -> str:
    return ", ".join(f"`{place}`" for place in removal.place.split(", ") if place) or "nowhere"


def _test(removal: Removal) -> str:
    test = f"`{removal.test.removeprefix('tests/')}`" if removal.test else ""
    return ": ".join(part for part in (test, removal.note) if part)


class Runner:
    """Runs pytest in copies, each time in a process of its own.

    Imports take longer than most tests.  The first run notes what it has imported of other
    projects; the others begin in forks of a process that has imported it.
    """

    def __init__(self, folder: Path) -> None:
        self._noted = folder / "modules.txt"
        self._spawn = multiprocessing.get_context("spawn")
        self._forks: ForkServerContext | None = None

    def run(self, root: Path, tests: list[str]) -> dict[str, str]:
        """Run tests in a copy; return how each ended: "", or the message of its failure."""
        report, output = root / "report.xml", root / "output.txt"
        arguments = ["-q", "-n", "0", "-p", "no:cacheprovider", "--assert=plain",
                     f"--junitxml={report}", f"--timeout={TEST_SECONDS}", *tests]  # fmt: skip
        context = self._forks or self._spawn
        process = context.Process(target=pytest_in, args=(root, arguments, self._noted))
        process.start()
        try:
            process.join(RUN_SECONDS + TEST_SECONDS * len(tests))
            if process.exitcode is None:
                raise Survived("the tests did not end")
        finally:
            _end(process)
        if self._forks is None and self._noted.exists():
            self._forks = multiprocessing.get_context("forkserver")
            self._forks.set_forkserver_preload(self._noted.read_text().split())
        ended: dict[str, str] = {}
        for case in ET.parse(report).iter("testcase") if report.exists() else ():
            file = f"{(case.get('classname') or '').replace('.', '/')}.py"
            ended[f"{file}::{case.get('name')}"] = _message(case)
        if not ended:
            raise Survived(f"no test was run\n{output.read_text()}")
        return ended


def pytest_in(root: Path, arguments: list[str], noted: Path) -> None:
    """Run pytest in a copy, in this process; note the modules of other projects."""
    os.setsid()
    os.chdir(root)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    ours = [str(root), str(root / "tests")]
    os.environ["PYTHONPATH"] = os.pathsep.join(ours)
    sys.path[:0] = ours
    import pytest

    ended = pytest.main(arguments)
    if not noted.exists():
        files = {name: getattr(one, "__file__", None) for name, one in sys.modules.items()}
        names = [name for name, file in files.items()
                 if file and not Path(file).is_relative_to(root)
                 and not Path(file).is_relative_to(ROOT)]  # fmt: skip
        noted.write_text("\n".join(names))
    sys.exit(int(ended))


def _message(case: ET.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            prefix = "" if kind == "failure" else f"{kind}: "
            return prefix + (found.get("message") or "no message")
    return ""


def _end(process: BaseProcess) -> None:
    """Kill what is left of a run: the processes that its tests have started."""
    try:
        os.killpg(process.pid or 0, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.join()


def copy(source: Path, target: Path) -> Path:
    """Copy what tests need."""
    for name in COPIED:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        else:
            target.mkdir(exist_ok=True)
            shutil.copy2(source / name, target / name)
    return target


def attempt(runner: Runner, removal: Removal, sound: Path, target: Path) -> str:
    """Remove a guard in a copy of ``sound``; return how its test fails.  Raises Survived."""
    copy(sound, target)
    for edit in removal.edits:
        edit.apply(target)
    modules = {edit.path for edit in removal.edits if edit.path.suffix == ".py"}
    for module in sorted(modules):
        name = ".".join(module.with_suffix("").parts)
        command = [sys.executable, "-W", "error", "-c", f"import {name}"]
        done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Survived(f"the change breaks the code: {done.stderr}")
    nouns = {edit.path.stem for edit in removal.edits if edit.block}
    blocks = [f"{SOUND}::test_file[{noun}]" for noun in sorted(nouns)]
    ended = runner.run(target, [*blocks, removal.test])
    for test in blocks:
        if ended.get(test) != "":
            raise Survived(f"the change breaks the code: {ended.get(test, 'not run')}")
    return judge(removal, [text for test, text in ended.items() if test not in blocks and text])


def judge(removal: Removal, failures: list[str]) -> str:
    """Return the first line of the failure that was expected.  Raises Survived without one."""
    if not failures:
        raise Survived("its test passes")
    wanted = re.compile(rf"[\w.]*{removal.raises}") if removal.raises else ASSERTED
    for text in failures:
        if wanted.match(text):
            return text.partition("\n")[0][:90]
    raise Survived(f"its test fails for another reason: {failures[0]}")


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="tests at a time; by default 2")
    parser.add_argument("--quick", action="store_true", help="only those that CI runs")
    parser.add_argument("--table", action="store_true", help="write formal/guards.md, run nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models, guards; by default all")
    given = parser.parse_args()
    removals = read()
    if given.table:
        PAGE.write_text(table(removals))
        return 0
    known = {name for each in removals for name in (each.model, each.guard, each.name)}
    if unknown := set(given.names) - known:
        parser.error(f"there is no model and no guard {', '.join(sorted(unknown))}")
    chosen = [
        each
        for each in removals
        if each.edits
        and (each.quick or not given.quick)
        and (not given.names or {each.model, each.guard, each.name} & set(given.names))
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="awa-guards-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # an embedded server of root's runs as another user
        from awa_lib.embedded import acquire
        from awa_lib.testing._databases import SETTINGS

        with acquire(folder / "server", settings=SETTINGS) as server:
            os.environ[SERVER] = server.url_of("postgres")
            return check(folder, chosen, jobs=given.jobs)


def check(folder: Path, removals: list[Removal], *, jobs: int) -> int:
    """Check that all tests pass with the guards, and that each fails without its own."""
    began = time.monotonic()
    sound = copy(ROOT, folder / "sound")
    tests = sorted({each.test for each in removals})
    runner = Runner(folder)
    wrong = {name: text for name, text in runner.run(sound, tests).items() if text}
    for name, text in wrong.items():
        print(f"{name} fails with all guards: {text}", flush=True)
    passed = len(tests) - len(wrong)
    seconds = time.monotonic() - began
    print(f"{passed} tests pass with all guards {seconds:6.1f} s", flush=True)
    removals = [each for each in removals if each.test not in wrong]

    def one(number: int) -> bool:
        removal, target = removals[number], folder / str(number)
        start = time.monotonic()
        try:
            end, fine = attempt(runner, removal, sound, target), True
        except (Survived, ValueError) as error:
            end, fine = f"SURVIVED: {error}", False
        shutil.rmtree(target, ignore_errors=True)
        seconds = time.monotonic() - start
        print(f"{removal.name:<24} {removal.place}\n    {seconds:5.1f} s {end}", flush=True)
        return fine

    with ThreadPoolExecutor(jobs) as pool:
        survived = list(pool.map(one, range(len(removals)))).count(False)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(removals)} removals, {survived} survived, {minutes:.1f} minutes")
    return int(survived + len(wrong) > 0)


if __name__ == "__main__":
    sys.exit(main())
