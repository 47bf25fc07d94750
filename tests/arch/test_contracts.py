"""Each import contract fails when it is broken on purpose."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
DEFERRED = "\n\ndef _broken() -> None:\n    import {}\n"
TYPE_ONLY = "\n\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import {}\n"
# By contract: a module, and what it must not import.
BREAKS = {
    "library-layers": ("awa_lib/ops/jobs.py", "awa_lib.runtime.app"),
    "no-drivers": ("awa_lib/reads/jobs.py", "awa_lib.db.drive"),
    "library-alone": ("awa_lib/logs.py", "awa_cli.feed"),
    "surfaces": ("awa_cli/tui/source.py", "awa_cli.web.state"),
    "commands-alone": ("awa_cli/web/state.py", "awa_cli.commands.doctor"),
    "entry-points": ("awa_cli/commands/doctor.py", "awa_cli.tui.app"),
    "nouns": ("awa_cli/commands/doctor.py", "awa_cli.commands.batch"),
    "no-terminal": ("awa_cli/views/columns.py", "awa_cli.terminal.output"),
    "no-typer": ("awa_cli/filters/text.py", "typer"),
    "command-layers": ("awa_cli/invocation.py", "awa_cli.views.columns"),
}


# Of a contract, too: the same in a module that imports it for its types alone.
FOR_TYPES = ("no-drivers", "awa_lib/reads/queues.py", "awa_lib.db.drive")
NAMES = {contract["id"]: contract["name"] for contract in CONTRACTS}


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the packages."""
    return make_copy(tmp_path_factory.mktemp("contracts"))


def make_copy(folder: Path) -> Path:
    for package in ("awa_lib", "awa_cli"):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "static")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "500"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_every_contract_is_broken_here() -> None:
    assert {contract["id"] for contract in CONTRACTS} == set(BREAKS)


def test_the_contracts_hold(copy: Path) -> None:
    done = lint(copy)

    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Break all contracts at once: to read the imports takes longest.  Return what is told of each."""
    copy = make_copy(tmp_path_factory.mktemp("broken"))
    breaks = [(*one, DEFERRED) for one in BREAKS.values()]
    for file, wrong, how in (*breaks, (*FOR_TYPES[1:], TYPE_ONLY)):
        with (copy / file).open("a") as module:
            module.write(how.format(wrong))
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    _, _, details = done.stdout.partition("\nBroken contracts\n")
    found = {}
    for part in re.split(r"\n(?=.+\n-+\n\n)", details):
        head, _, text = part.strip().partition("\n")
        found[head] = text
    return found


@pytest.mark.parametrize("contract", BREAKS)
def test_a_contract_that_is_broken_fails(told: dict[str, str], contract: str) -> None:
    assert imports(*BREAKS[contract]) in told[NAMES[contract]]


def test_a_type_only_import_breaks_a_contract_too(told: dict[str, str]) -> None:
    contract, *wrong = FOR_TYPES

    assert imports(*wrong) in told[NAMES[contract]]


def imports(file: str, wrong: str) -> str:
    """Return the beginning of the line about an import."""
    module = file.removesuffix(".py").replace("/", ".")
    return f"{module} -> {wrong} (l."
