"""``awa --install-completion`` and ``--show-completion``, called by the shells themselves."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from fix_cli import argv, environment
from fix_shells import ROOT, SCRIPTS

FILES = {
    "bash": ("awa.bash", ".bash_completions/awa.sh", ".bashrc"),
    "zsh": ("_awa", ".zfunc/_awa", ".zshrc"),
    "fish": ("awa.fish", ".config/fish/completions/awa.fish", None),
}


@pytest.fixture(params=list(FILES))
def shell(request) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def run(shell, tmp_path):
    """Run the command as a child of the shell, in a home of its own."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "awa").write_text(f'#!/bin/sh\nexec {shlex.join(argv())} "$@"\n')
    (bin_ / "awa").chmod(0o755)

    def call(*args: str, before: str = "", check: str = "true") -> str:
        env = environment(None, HOME=str(tmp_path), PATH=f"{bin_}:{os.environ['PATH']}")
        words = [*([shell, "-i"] if before else [shell]), "-c"]
        done = subprocess.run(
            [*words, f"awa {shlex.join(args)}; {check}"], env=env, capture_output=True, text=True,
            timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_the_script_is_that_of_the_calling_shell(shell, run) -> None:
    assert run("--show-completion") == (SCRIPTS / FILES[shell][0]).read_text()


def test_it_is_installed_once_beside_what_is_there(shell, run, tmp_path) -> None:
    script, path, start = FILES[shell]
    if start:
        (tmp_path / start).write_text("export KEEP=1")
    for _ in range(2):
        assert f"Completion for {shell} installed in {tmp_path / path}" in run(
            "--install-completion"
        )

    assert (tmp_path / path).read_text() == (SCRIPTS / script).read_text()
    if start:
        kept, *added = (tmp_path / start).read_text().splitlines()
        assert (kept, len(added)) == ("export KEEP=1", 1)
    if shell == "bash":
        told = run("--version", before="rc", check="complete -p awa")
        assert "_awa_completion" in told


def test_a_file_that_cannot_be_written_is_named(shell, run, tmp_path) -> None:
    path = tmp_path / FILES[shell][1]
    path.mkdir(parents=True)
    with pytest.raises(AssertionError, match="cannot write"):
        run("--install-completion", check="exit 1")


def test_outside_a_shell_it_says_where_to_go(tmp_path) -> None:
    """The parents of this process are given as ones that are no shells."""
    code = (
        "import shellingham; from awa_cli.main import main\n"
        "def none(*_): raise shellingham.ShellDetectionFailure\n"
        "shellingham.detect_shell = none\n"
        "raise SystemExit(main(['--install-completion']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(None, HOME=str(tmp_path)), cwd=ROOT,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot find out the current shell" in done.stderr
    assert "awa --show-completion" in done.stderr
