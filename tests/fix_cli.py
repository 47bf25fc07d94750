"""The command: in this process, in a process of its own, and at a terminal of a given size."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from fix_terminal import read_to_end
from typer.core import TyperGroup
from typer.main import get_command

from awa_cli.main import main
from awa_cli.parser.tree import app
from awa_cli.terminal.formats import read_shape

ROOT = Path(__file__).resolve().parents[1]


@cache
def built() -> Any:
    """Return the command; each of its verbs takes 10 ms to build, and is built once."""
    return get_command(app)


def commands(command=None, path=(), parent=None):
    """Yield (path, command) of the whole tree."""
    command = command or built()
    ctx = typer.Context(command, info_name=(path or ("awa",))[-1], parent=parent)
    yield path, command
    if isinstance(command, TyperGroup):
        for name in command.list_commands(ctx):
            yield from commands(command.get_command(ctx, name), (*path, name), ctx)


TREE = {path: command for path, command in commands() if not command.hidden}
LEAVES = {" ".join(path): one for path, one in TREE.items() if not isinstance(one, TyperGroup)}


def forms(name: str) -> tuple[str, ...]:
    """Return the forms of data that a command prints with ``-o``."""
    for param in LEAVES[name].params:
        if param.name == "output":
            lists = getattr(param.type, "func", None) is read_shape
            return ("json", "ndjson", "yaml", "csv", "ids") if lists else ("json",)
    return ()


@dataclass(frozen=True)
class Ran:
    """What a run of the command left."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Stdout read as JSON."""
        return json.loads(self.out)


def environment(url: str | None, **more: str) -> dict[str, str]:
    """Return a bare environment for a process, with the URL when there is one."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
    env["PYTHONPATH"] = str(ROOT)
    env["AWA_CONFIG"] = os.environ["AWA_CONFIG"]
    env["XDG_CACHE_HOME"] = str(Path(env["AWA_CONFIG"]).parent / "cache")
    if url is not None:
        env["DATABASE_URL"] = url
    return env | more


def argv(*args: object) -> list[str]:
    return [sys.executable, "-m", "awa_cli", *map(str, args)]


@pytest.fixture(scope="session")
def configs(tmp_path_factory) -> Path:
    """The folder of all config files: ``tmp_path`` costs each test 3 ms, and most write none."""
    return tmp_path_factory.mktemp("configs")


@pytest.fixture(autouse=True)
def config(configs, monkeypatch) -> Path:
    """The config file of this test's own, which is not there yet."""
    path = configs / uuid.uuid4().hex / "config.toml"
    monkeypatch.setenv("AWA_CONFIG", str(path))
    return path


@pytest.fixture
def offline(capsys, monkeypatch) -> Callable[..., Ran]:
    """Run the command in this process, with no database named."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*args: object) -> Ran:
        capsys.readouterr()
        status = main(list(map(str, args)))
        return Ran(int(status), *capsys.readouterr())

    return run


@pytest.fixture
def here(offline, monkeypatch) -> Callable[..., Ran]:
    """Run the command in this process as ``process`` does: ``here("job", "list", url=…)``."""

    def run(*args: object, url: str | None = None) -> Ran:
        if url is None:
            monkeypatch.delenv("DATABASE_URL", raising=False)
        else:
            monkeypatch.setenv("DATABASE_URL", url)
        return offline(*args)

    return run


@pytest.fixture
def cli(offline, monkeypatch, database_url) -> Callable[..., Ran]:
    """Run the command in this process, on a migrated database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return offline


@pytest.fixture
def process() -> Callable[..., Ran]:
    """Run the command in a process of its own: ``process("job", "list", url=…)``."""

    def run(*args: object, url: str | None = None, stdin: str = "", **options: Any) -> Ran:
        done = subprocess.run(
            argv(*args), env=environment(url), input=stdin, capture_output=True, text=True,
            timeout=60, **options,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def terminal() -> Callable[..., Ran]:
    """Run the command at a terminal of ``columns`` × ``lines``, typing ``keys`` when it asks.

    All output is in out.
    """

    def run(
        *args: object,
        url: str | None = None,
        columns: int = 80,
        lines: int = 24,
        keys: str = "",
        **env: str,
    ) -> Ran:
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = subprocess.Popen(
            argv(*args), env=environment(url, **{"TERM": "xterm-256color", **env}),
            stdin=follower, stdout=follower, stderr=follower,
        )  # fmt: skip
        shown = read_to_end(process.pid, leader, follower, keys)
        return Ran(process.wait(timeout=30), shown.decode().replace("\r\n", "\n"), "")

    return run


@pytest.fixture
def db(database_url) -> Iterator[psycopg.Connection]:
    """Look at the database of ``cli`` directly."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def add(db) -> Callable[..., int]:
    """Write a job row in any state and return its id."""

    def add(state: str = "available", **columns: Any) -> int:
        table = "scheduled_jobs" if state in {"scheduled", "retryable"} else "jobs_hot"
        row = {"kind": "send_email", "queue": "email", "state": state, **columns}
        names = ", ".join(row)
        places = ", ".join(["%s"] * len(row))
        query = f"INSERT INTO awa.{table} ({names}) VALUES ({places}) RETURNING id"
        return db.execute(query, list(row.values())).fetchone()[0]

    return add
