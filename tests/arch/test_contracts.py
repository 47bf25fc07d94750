"""Each import contract fails when it is broken on purpose."""

from __future__ import annotations

import os
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


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the packages that may be broken."""
    folder = tmp_path_factory.mktemp("contracts")
    for package in ("awa_lib", "awa_cli"):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "static")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    chosen = [word for contract in contracts for word in ("--contract", contract)]
    return subprocess.run(
        [sys.executable, "-c", script, *chosen],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_every_contract_is_broken_here() -> None:
    assert {contract["id"] for contract in CONTRACTS} == set(BREAKS)


def test_the_contracts_hold(copy: Path) -> None:
    done = lint(copy)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("contract", BREAKS)
def test_a_contract_that_is_broken_fails(copy: Path, contract: str) -> None:
    broken(copy, contract, DEFERRED)


def test_a_type_only_import_breaks_a_contract_too(copy: Path) -> None:
    broken(copy, "no-drivers", TYPE_ONLY)


def broken(copy: Path, contract: str, how: str) -> None:
    file, wrong = BREAKS[contract]
    path = copy / file
    before = path.read_text()
    path.write_text(before + how.format(wrong))
    try:
        done = lint(copy, contract)
    finally:
        path.write_text(before)

    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
