"""Runs commands at terminals, each in a fork of this process, which has loaded what they need.

A start of Python for each would take five times as long.  Reads a request a line, answers with
what the terminal showed and the exit status.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import sys
import termios
import time
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg  # noqa: F401 - loaded once for all
from fix_terminal import read_to_end

from awa_cli.main import main
from awa_cli.parser.tree import ROOMS, app  # noqa: F401 - as above


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
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
