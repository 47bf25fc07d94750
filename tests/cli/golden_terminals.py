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

import psycopg  # noqa: F401 - loaded once for all

from awa_cli.main import main
from awa_cli.parser.tree import ROOMS, app  # noqa: F401 - as above


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run ``argv`` at a terminal of ``columns`` × 24; type ``keys`` when it asks."""
    child, leader = pty.fork()
    if child == 0:
        _be(request)
    shown, keys = b"", request["keys"].encode()
    while block := _read(leader):
        shown += block
        if keys and shown.endswith(b": "):
            os.write(leader, keys)
            keys = b""
    os.close(leader)
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


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux says EIO when the other side is closed
        return b""


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
