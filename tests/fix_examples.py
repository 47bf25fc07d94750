"""Examples as their users run them: processes in the folder of the example, and sites."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_wait import eventually


class Site:
    """A server on this machine."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]

    def ask(self, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": kind} if kind else {}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
                return error.code, json.loads(text) if text.startswith(b"{") else text.decode()

    def post(self, path: str, **fields: str) -> tuple[int, Any]:
        kind = "application/x-www-form-urlencoded"
        return self.ask(path, urllib.parse.urlencode(fields).encode(), kind)

    def post_json(self, path: str, **fields: Any) -> tuple[int, Any]:
        return self.ask(path, json.dumps(fields).encode(), "application/json")

    def wait(self, process: subprocess.Popen[str]) -> None:
        """Wait until something answers, whatever it says."""

        def up() -> bool:
            assert process.poll() is None, process.communicate()[0]
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True

        eventually(up, timeout=30)


class Examples:
    """The examples of a folder; what was started and still runs is killed at the end."""

    mail: Site

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, timeout=timeout, capture_output=True,
            text=True, env=self.environment,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=self.folder, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment,
        )  # fmt: skip
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdout is not None and not process.stdout.closed:
                process.communicate()


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a process as a service manager does, and wait for its end."""
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode in {0, -signal.SIGTERM}, said


@pytest.fixture
def examples(database_url: str) -> Iterator[Callable[..., Examples]]:
    """Make the examples of a folder runnable, on the database of the test."""
    made: list[Examples] = []

    def make(folder: Path, **environment: str) -> Examples:
        made.append(Examples(folder, {"DATABASE_URL": database_url, **environment}))
        return made[-1]

    yield make
    for one in made:
        one.end()
