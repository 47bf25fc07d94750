"""Completions, manual and reference follow from the command tree and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATE = ROOT / ".ci" / "generate"


def test_generated_files_are_up_to_date_in_any_environment() -> None:
    env = {"PATH": os.environ["PATH"], "COLUMNS": "40", "LC_ALL": "C", "NO_COLOR": "1"}

    for extra in ({}, env):
        done = subprocess.run(
            [sys.executable, str(GENERATE), "--check"], env=extra, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_sees_changes_and_writing_mends_them(tmp_path) -> None:
    for part in ("awa_cli", "awa_lib", ".ci", "completions", "man", "docs/reference"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "man" / "awa-job.1").write_text("old")
    (tmp_path / "man" / "awa-gone.1").write_text("old")
    (tmp_path / "completions" / "_awa").unlink()

    def generate(*args):
        return subprocess.run(
            [sys.executable, str(tmp_path / ".ci" / "generate"), *args],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    done = generate("--check")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "out of date: completions/_awa",
        "out of date: man/awa-job.1",
        "out of date: man/awa-gone.1",
        "run .ci/generate",
    ]
    assert generate().returncode == 0
    assert generate("--check").returncode == 0
    for name in ("completions/_awa", "man/awa-job.1"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", "awa.bash"), ("zsh", "_awa"), ("fish", "awa.fish")]
)
def test_completions_are_valid_scripts(shell, file) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")

    subprocess.run([shell, "-n", str(ROOT / "completions" / file)], check=True, timeout=30)


def test_manual_pages_are_valid_roff() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    for file in sorted((ROOT / "man").glob("*.1")):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", str(file)], capture_output=True, text=True,
            timeout=30,
        )  # fmt: skip
        assert (file.name, done.stderr) == (file.name, "")
        assert "Done as asked." in done.stdout
