"""A project of Django with tasks, under the Django here and under newer ones.

A newer Django may need a newer Python: an environment for it is made once, without this project in
it, and kept in the user's cache directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "tests" / "django" / "project"
HERE = "here"
VERSIONS = ("6.0", "6.1")
PYTHONS = ("3.14", "3.13", "3.12")


class Forks:
    """A process that runs programs with a Django, each in a fork of its own."""

    def __init__(self, python: str, folder: Path) -> None:
        self._outputs = [folder / "stdout", folder / "stderr"]
        self._process = subprocess.Popen(
            [python, "-W", "error", str(PROJECT.parent / "forks.py")], cwd=PROJECT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def run(self, text: str, environment: dict[str, str]) -> list[str]:
        """Run a program to its end; return the lines that it prints."""
        outputs = list(map(str, self._outputs))
        request = {"text": text, "environment": environment, "outputs": outputs}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        status = self._process.stdout.readline().strip()
        said, errors = (one.read_text(encoding="utf-8") for one in self._outputs)
        assert status == "0", f"exit status {status}\n{errors}"
        return said.splitlines()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class Project:
    """The project with its two databases; what was started and still runs is killed at the end."""

    def __init__(self, python: str, forks: Forks, url: str, second: str) -> None:
        self.python = python
        self.forks = forks
        self.environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
            "DATABASE_URL": url,
            "SECOND_URL": second,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        self.started: list[subprocess.Popen[str]] = []

    def manage(
        self, *arguments: str, status: int = 0, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end; warnings are errors in it."""
        done = subprocess.run(
            [self.python, "-W", "error", "manage.py", *arguments], cwd=PROJECT, text=True,
            capture_output=True, timeout=timeout, env=self.environment,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def ask(self, program: str) -> list[str]:
        """Run a few lines with the tasks at hand; return the lines that they print."""
        names = "from django.db import connection, transaction\nfrom app import tasks\n"
        return self.forks.run(names + program, self.environment)

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a worker whose death is noticed in three seconds."""
        process = subprocess.Popen(
            [self.python, "manage.py", "awa_worker", "--rescue-after", "3", *arguments],
            cwd=PROJECT, text=True, start_new_session=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=self.environment,
        )  # fmt: skip
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def python_of(version: str) -> str:
    """Return an interpreter with this Django; made on first use."""
    base = next(filter(None, map(_found, PYTHONS)), None)
    if base is None:
        pytest.skip(f"Django {version} needs Python 3.12 or later, which is not here")
    wanted = [f"django=={version}.*", *_dependencies()]
    content = hashlib.sha256(" ".join([base, *wanted]).encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awa-toolkit"
    folder = cache / f"django-{version}-{content}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bin" / "python").exists():
            _build(base, folder, wanted)
    return str(folder / "bin" / "python")


def _dependencies() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def _found(version: str) -> str | None:
    """Return a Python of this version: on the path, or where pyenv keeps them."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
        return sys.executable
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for program in (shutil.which(f"python{version}"), *map(str, kept)):
        # A shim of pyenv is found, and runs nothing.
        if program and subprocess.run([program, "-c", ""], capture_output=True).returncode == 0:
            return program
    return None


def _build(base: str, folder: Path, wanted: list[str]) -> None:
    """Make the environment beside its final place, so that an interrupted one is never used."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    subprocess.run([base, "-m", "venv", "--symlinks", str(unfinished)], check=True)
    done = subprocess.run(
        [str(unfinished / "bin" / "python"), "-m", "pip", "install", "--quiet",
         "--disable-pip-version-check", *wanted],
        text=True, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{wanted[0]} cannot be installed here: {done.stderr.strip()[-300:]}")
    unfinished.rename(folder)


DJANGOS = [HERE, *(pytest.param(one, marks=pytest.mark.interop) for one in VERSIONS)]
# Each test starts processes of its own.
oldest_and_newest = pytest.mark.parametrize(
    "django_python", [DJANGOS[0], DJANGOS[-1]], indirect=True, scope="module"
)


@pytest.fixture(scope="module", params=DJANGOS)
def django_python(request: pytest.FixtureRequest) -> str:
    """An interpreter with a Django: that of the test's environment, then each newer one."""
    return sys.executable if request.param == HERE else python_of(request.param)


@pytest.fixture(scope="module")
def forks(django_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(django_python, tmp_path_factory.mktemp("forks"))
    yield made
    made.end()


@pytest.fixture
def project(django_python: str, forks: Forks, database_url: str, postgres) -> Iterator[Project]:
    """The project on a migrated database, and on a second one that is empty."""
    with postgres.database() as second:
        made = Project(django_python, forks, database_url, second)
        yield made
        made.end()
