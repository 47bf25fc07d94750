"""Completions, manual and reference follow from the command tree and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from awa_cli.database import config

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
    pictures = ("tests/tui/__snapshots__", "docs/images")
    for part in ("awa_cli", "awa_lib", ".ci", "completions", "man", "docs/reference", *pictures):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "man" / "man1" / "awa-job.1").write_text("old")
    (tmp_path / "man" / "man1" / "awa-gone.1").write_text("old")
    (tmp_path / "man" / "awa-lost.1").write_text("old")
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
        "out of date: man/man1/awa-job.1",
        "out of date: man/awa-lost.1",
        "out of date: man/man1/awa-gone.1",
        "run .ci/generate",
    ]
    assert generate().returncode == 0
    assert generate("--check").returncode == 0
    for name in ("completions/_awa", "man/man1/awa-job.1"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


def test_page_of_the_config_file_names_all_it_may_hold(monkeypatch, tmp_path) -> None:
    page = (ROOT / "man" / "man5" / "awa-config.5").read_text()
    _, _, rest = page.partition(".nf\n")
    example = tmp_path / "config.toml"
    example.write_text(rest.partition("\n.fi")[0].replace("\\-", "-"))
    monkeypatch.setenv("AWA_CONFIG", str(example))

    assert config.read_config().current == "staging"
    assert set(config._KEYS) == {one.name for one in fields(config.Context)} - {"name"}
    for name in (*config._KEYS, "current"):
        assert f".BR {name} " in page


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
    for file in sorted((ROOT / "man").glob("*/*")):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", str(file)], capture_output=True, text=True,
            timeout=30,
        )  # fmt: skip
        assert (file.name, done.stderr) == (file.name, "")
        assert file.suffix == ".5" or "The command succeeded." in done.stdout
