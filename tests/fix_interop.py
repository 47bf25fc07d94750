"""The published awa 0.5.7, in a virtual environment of its own.

Both it and we install a command named ``awa``, so it never enters the environment under test.
The environment is made once and kept in the user's cache directory.
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
REQUIREMENTS = (
    f"awa-pg=={VERSION}", f"awa-cli=={VERSION}",
    # What ``awa.bridge`` and ``awa.testing`` work with.
    "asyncpg", "django>=5.0", "psycopg[binary]", "pytest-asyncio", "sqlalchemy[asyncio]>=2.0",
)  # fmt: skip


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


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    python = f"py{sys.version_info[0]}{sys.version_info[1]}"
    content = hashlib.sha256(" ".join(REQUIREMENTS).encode()).hexdigest()[:8]
    return Path(base) / "awa-toolkit" / f"interop-{VERSION}-{python}-{content}"


def build(folder: Path) -> None:
    """Make the environment beside its final place, so that an interrupted one is never used."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    venv.create(unfinished, with_pip=True, symlinks=True)
    done = subprocess.run(
        [str(unfinished / "bin" / "python"), "-m", "pip", "install", "--quiet",
         "--disable-pip-version-check", "--only-binary", ":all:", *REQUIREMENTS],
        text=True, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"awa {VERSION} cannot be installed here: {done.stderr.strip()[-300:]}")
    unfinished.rename(folder)


@pytest.fixture(scope="session")
def interop() -> Interop:
    """The published command and wheel, installed on first use."""
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bin" / "awa").exists():
            build(folder)
    return Interop(folder / "bin")
