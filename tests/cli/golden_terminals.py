"""Runs commands at terminals, each in a fork of this process, which has loaded what they need.

A start of Python for each would take five times as long, and each import that is left to the forks
is made again by every one: those of all commands together take as long as a command.  What a
command loads by itself is the matter of tests/arch/test_cli_imports.py.  Reads a request a line,
answers with what the terminal showed and the exit status.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import pkgutil
import pty
import struct
import sys
import termios
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg  # noqa: F401 - loaded once for all
from fix_terminal import read_to_end

import awa_cli.commands
import awa_cli.database
import awa_cli.filters
import awa_cli.parser
import awa_cli.terminal
import awa_cli.views
import awa_lib.ops
import awa_lib.reads
from awa_cli.main import main

PACKAGES = (
    awa_cli.commands, awa_cli.database, awa_cli.filters, awa_cli.parser, awa_cli.terminal,
    awa_cli.views, awa_lib.ops, awa_lib.reads,
)  # fmt: skip


def load() -> None:
    """Load what commands load; the garbage collector of a fork would copy each page it looks at."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    gc.freeze()


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run ``argv`` at a terminal of ``columns`` × 24; type ``keys`` when it asks."""
    leader, follower = pty.openpty()
    child = os.fork()
    if child == 0:
        os.close(leader)
        os.login_tty(follower)
        _be(request)
    shown = read_to_end(child, leader, follower, request["keys"])
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"out": shown.decode().replace("\r\n", "\n"), "status": status}


def _be(request: dict[str, Any]) -> NoReturn:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, request["columns"], 0, 0))
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8"),
        os.fdopen(2, "w", encoding="utf-8", buffering=1),
    )  # fmt: skip
    status = 70
    try:
        status = int(main(request["argv"]))
        sys.stdout.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    load()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
