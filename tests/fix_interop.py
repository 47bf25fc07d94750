"""The published awa, each version in a virtual environment of its own.

Both it and we install a command named ``awa``, so it never enters the environment under test.
An environment is made once and kept in the user's cache directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

VERSION = "0.5.7"
# Those whose databases and workers we promise to work with.
VERSIONS = ("0.5.5", "0.5.6", VERSION)
# What ``awa.bridge`` and ``awa.testing`` work with; only the newest is compared by them.
PARTNERS = ("asyncpg", "django>=5.0", "psycopg[binary]", "pytest-asyncio",
            "sqlalchemy[asyncio]>=2.0")  # fmt: skip


def requirements(version: str) -> tuple[str, ...]:
    """Return what is installed for a version."""
    return (f"awa-pg=={version}", f"awa-cli=={version}", *(PARTNERS if version == VERSION else ()))


@dataclass(frozen=True, slots=True)
class Interop:
    """Runs the published command and the published wheel."""

    bin: Path

    def awa(
        self, *args: str, url: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run the published ``awa`` command; its log lines are kept out of stdout."""
        return self._run([str(self.bin / "awa"), *args], url, check, timeout)

    def python(
        self, script: str, *args: str, url: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a script that does ``import awa``; DATABASE_URL names the database."""
        return self._run([str(self.bin / "python"), "-c", script, *args], url, check, timeout)

    def start(self, script: str, *args: str, url: str) -> subprocess.Popen[str]:
        """Start a script and leave it running; the caller stops it."""
        return subprocess.Popen(
            [str(self.bin / "python"), "-u", "-c", script, *args],
            env=self._environment(url), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _run(
        self, command: list[str], url: str, check: bool, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=self._environment(url), text=True, capture_output=True, timeout=timeout
        )
        if check and done.returncode:
            pytest.fail(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def _environment(self, url: str) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return kept | {"DATABASE_URL": url, "RUST_LOG": "error", "NO_COLOR": "1"}


def cache_folder(version: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    python = f"py{sys.version_info[0]}{sys.version_info[1]}"
    content = hashlib.sha256(" ".join(requirements(version)).encode()).hexdigest()[:8]
    return Path(base) / "awa-toolkit" / f"interop-{version}-{python}-{content}"


def build(version: str, folder: Path) -> None:
    """Make the environment beside its final place, so that an interrupted one is never used."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    venv.create(unfinished, with_pip=True, symlinks=True)
    done = subprocess.run(
        [str(unfinished / "bin" / "python"), "-m", "pip", "install", "--quiet",
         "--disable-pip-version-check", "--only-binary", ":all:", *requirements(version)],
        text=True, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"awa {version} cannot be installed here: {done.stderr.strip()[-300:]}")
    unfinished.rename(folder)


def installed(version: str) -> Interop:
    """Return a published version, which is installed on first use."""
    folder = cache_folder(version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bin" / "awa").exists():
            build(version, folder)
    return Interop(folder / "bin")


@pytest.fixture(scope="session")
def interop() -> Interop:
    """The published command and wheel of the newest version that we work with."""
    return installed(VERSION)
