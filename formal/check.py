#!/usr/bin/env python3
"""Check the models in this folder with Spin: each property holds, and each broken twin fails.

python formal/check.py [--larger] [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
DECLARATION = re.compile(r"^//! (check|twin): (.+)$", re.MULTILINE)
CHECK = re.compile(r"(assert|ltl) (\w+)\b")
TWIN = re.compile(r"(NO_\w+) breaks (assert|ltl) (\w+)$")
LTL = r"^ltl {name} \{{(.*?)\}}"
EVENTUALLY = re.compile(r"<>|\b(U|W|V|eventually|until)\b")
# A search with one of these lines has not seen every state.
INCOMPLETE = ("max search depth too small", "out of memory", "hit memory limit", "aborted")
DEPTH = 1_000_000
# A search that grows without end must not take the machine with it.
MEGABYTES, MEGABYTES_LARGER = 4_000, 16_000
JOBS, JOBS_LARGER = 2, 1
SECONDS = 3_600
# A twin fails after some hundred states: compiling it takes longer than searching.
OPTIMIZE_TWIN, OPTIMIZE, OPTIMIZE_LARGER = "-O0", "-O1", "-O2"
TRAIL_LINES = 400


@dataclass(frozen=True)
class Property:
    """A property of a model; ``asserts`` are told apart by a word of their condition."""

    sort: str
    name: str

    def __str__(self) -> str:
        return f"{self.sort} {self.name}"


@dataclass(frozen=True)
class Twin:
    """A model without a guard, and the property that it must break."""

    switch: str
    breaks: Property


@dataclass(frozen=True)
class Model:
    """A file and what it declares."""

    path: Path
    text: str
    properties: list[Property]
    twins: list[Twin]

    @property
    def name(self) -> str:
        """Return the name of the file without its ending."""
        return self.path.stem

    def is_liveness(self, prop: Property) -> bool:
        """Return True for a formula that only an endless run can break."""
        if prop.sort == "assert":
            return False
        found = re.search(LTL.format(name=prop.name), self.text, re.MULTILINE | re.DOTALL)
        if found is None:
            raise SystemExit(f"{self.path}: there is no ltl block named {prop.name}")
        return EVENTUALLY.search(found[1]) is not None


class Incorrect(Exception):
    """A check whose result is not the declared one."""


def read(path: Path) -> Model:
    """Read the declarations of a model."""
    text = path.read_text()
    properties: list[Property] = []
    twins: list[Twin] = []
    for sort, line in DECLARATION.findall(text):
        found = (CHECK if sort == "check" else TWIN).match(line)
        if found is None:
            raise SystemExit(f"{path}: cannot read: //! {sort}: {line}")
        if sort == "check":
            properties.append(Property(*found.groups()))
        else:
            twins.append(Twin(found[1], Property(found[2], found[3])))
    model = Model(path, text, properties, twins)
    if not properties:
        raise SystemExit(f"{path}: no property is declared")
    for twin in twins:
        if twin.breaks not in properties:
            raise SystemExit(f"{path}: {twin.switch} breaks {twin.breaks}, which is not declared")
        if re.search(rf"^#ifn?def {twin.switch}$", text, re.MULTILINE) is None:
            raise SystemExit(f"{path}: no line is guarded by {twin.switch}")
    return model


class Pan:
    """The verifier that Spin makes of a model, in a folder of its own."""

    def __init__(
        self, folder: Path, model: Model, prop: Property, *switches: str, optimize: str
    ) -> None:
        folder.mkdir()
        self._folder = folder
        liveness = model.is_liveness(prop)
        self._options = ["-N", prop.name] if prop.sort == "ltl" else []
        if liveness:
            self._options += ["-a", "-f", "-A"]
        # Trails are written beside the model.
        shutil.copy(model.path, folder)
        self._call("spin", "-a", *switches, model.path.name)
        # Weak fairness among up to 30 processes.
        flags = ["-DNFAIR=4"] if liveness else ["-DSAFETY"]
        larger = optimize == OPTIMIZE_LARGER
        flags.append(f"-DMEMLIM={MEGABYTES_LARGER if larger else MEGABYTES}")
        if prop.sort == "assert":
            flags.append("-DNOCLAIM")
        self._call("gcc", optimize, "-w", *flags, "-o", "pan", "pan.c")

    def search(self) -> str:
        """Search all states; return what pan prints."""
        return self._call("./pan", f"-m{DEPTH}", "-E", *self._options)

    def trail(self) -> str:
        """Return the steps of the counterexample."""
        lines = self._call("./pan", *self._options[:2], "-r").splitlines()
        return "\n".join(lines[-TRAIL_LINES:])

    def _call(self, *command: str) -> str:
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SystemExit(f"{' '.join(command)}: no end after {SECONDS} s") from None
        if done.returncode and command[0] != "./pan":
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr


def states_of(output: str) -> int:
    """Return the number of states of a complete search."""
    if any(line in output for line in INCOMPLETE):
        raise Incorrect("the search was not complete\n" + output)
    found = re.search(r"^\s*([\d.e+]+) states, stored", output, re.MULTILINE)
    if found is None:
        raise Incorrect("pan did not finish\n" + output)
    return int(float(found[1]))


def violated(output: str, model: Model, prop: Property) -> bool:
    """Return True when this property failed, and no other."""
    if prop.sort == "assert":
        found = re.search(r"assertion violated (.*) \(at depth", output)
        words = set(re.findall(r"\w+", found[1])) if found else set()
        return words & {each.name for each in model.properties} == {prop.name}
    return "acceptance cycle" in output or "assertion violated !" in output


def verify(folder: Path, model: Model, prop: Property, *, larger: bool) -> str:
    """Check a property of a model; all asserts are one search.  Return the line that says so."""
    switches = ["-DLARGER"] if larger else []
    optimize = OPTIMIZE_LARGER if larger else OPTIMIZE
    what = "asserts" if prop.sort == "assert" else str(prop)
    began = time.monotonic()
    pan = Pan(folder / f"{model.name}-{prop.name}", model, prop, *switches, optimize=optimize)
    output = pan.search()
    if "errors: 0" not in output:
        raise Incorrect(f"{what}: broken\n{output}\n{pan.trail()}")
    return line(model.name, what, states_of(output), began)


def refute(folder: Path, model: Model, twin: Twin) -> str:
    """Check that a twin breaks its property.  Return the line that says so."""
    began = time.monotonic()
    name = f"{model.name}-{twin.switch}-{twin.breaks.name}"
    pan = Pan(folder / name, model, twin.breaks, f"-D{twin.switch}", optimize=OPTIMIZE_TWIN)
    output = pan.search()
    if "errors: 0" in output:
        raise Incorrect(f"{twin.switch} does not break {twin.breaks}")
    if not violated(output, model, twin.breaks):
        steps = f"{output}\n{pan.trail()}"
        raise Incorrect(f"{twin.switch} breaks something else than {twin.breaks}\n{steps}")
    return line(model.name, f"{twin.switch} breaks {twin.breaks}", states_of(output), began)


def line(name: str, what: str, states: int, began: float) -> str:
    """Return the line of a check."""
    seconds = time.monotonic() - began
    return f"{name:<12} {what:<48} {states:>9} states {seconds:6.1f} s"


def checks(folder: Path, model: Model, *, larger: bool) -> Iterator[Callable[[], str]]:
    """Yield the checks of a model and of its twins."""
    asserts = [prop for prop in model.properties if prop.sort == "assert"]
    for prop in [*asserts[:1], *(prop for prop in model.properties if prop.sort != "assert")]:
        yield partial(verify, folder, model, prop, larger=larger)
    for twin in [] if larger else model.twins:
        yield partial(refute, folder, model, twin)


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--larger", action="store_true", help="larger bounds, without the twins")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; by default all")
    given = parser.parse_args()
    missing = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    if missing:
        print(f"missing: {' and '.join(missing)}; the models are not checked", file=sys.stderr)
        return int("CI" in os.environ)
    paths = {path.stem: path for path in sorted(HERE.glob("*.pml"))}
    unknown = set(given.names) - set(paths)
    if unknown:
        parser.error(f"there is no model {', '.join(sorted(unknown))}")
    models = [read(paths[name]) for name in given.names or paths]
    with tempfile.TemporaryDirectory() as name:
        wrong = check(Path(name), models, larger=given.larger)
    return int(wrong > 0)


def check(folder: Path, models: list[Model], *, larger: bool) -> int:
    """Check models and their twins; return how many checks are wrong."""
    wrong = 0
    with ThreadPoolExecutor(JOBS_LARGER if larger else JOBS) as pool:
        found = [
            (model, pool.submit(one))
            for model in models
            for one in checks(folder, model, larger=larger)
        ]
        try:
            for model, done in found:
                try:
                    print(done.result(), flush=True)
                except Incorrect as error:
                    wrong += 1
                    print(f"{model.name}: {error}", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
