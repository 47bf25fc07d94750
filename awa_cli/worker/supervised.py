"""The child of ``awa_cli.worker.supervisor``: start it, report readiness, end with the parent.

Each child holds the read end of a pipe.  When the supervisor is killed, the pipe closes, and the
child drains; a child that does not end is killed.  A second pipe reports that the child is ready.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NUMBER", "READY_PIPE", "start_child", "stop_with_parent", "take_number", "tell_ready"]

_PIPE: Final = "AWA_SUPERVISOR_PIPE"
READY_PIPE: Final = "AWA_READY_PIPE"
NUMBER: Final = "AWA_WORKER_NUMBER"
# The time that the supervisor gives: the drain, 2 s, and 1 s for the interpreter.
_END_SECONDS: Final = 3.0


def start_child(
    argv: Sequence[str],
    pipe: int,
    *,
    env: Mapping[str, str] | None = None,
    pipes: Sequence[int] = (),
    output: Any = None,
    errors: Any = None,
) -> subprocess.Popen[bytes]:
    """Start a child in its own process group, with the read end of our pipe."""
    return subprocess.Popen(  # noqa: S603 - our own command line
        argv,
        env={**os.environ, **(env or {}), _PIPE: str(pipe)},
        pass_fds=[pipe, *pipes],
        start_new_session=True,
        stdout=output,
        stderr=errors,
    )


def stop_with_parent(drain_seconds: float = 30.0) -> None:
    """In a child: drain when the supervisor is gone; kill the process group after a time limit."""
    pipe = _take(_PIPE)
    if pipe is None:
        return

    def watch() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(drain_seconds + _END_SECONDS)
        with suppress(OSError):
            sys.stderr.write("the worker outlived its supervisor and is killed\n")
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="awa-supervised", daemon=True).start()


def tell_ready() -> None:
    """In a child: report to the supervisor, if there is one, that the worker has started."""
    pipe = _take(READY_PIPE)
    if pipe is not None:
        with suppress(OSError):
            os.write(pipe, b"1")
        os.close(pipe)


def take_number() -> int:
    """Return which of the supervisor's processes this is, from 1 on; 1 without a supervisor."""
    return int(os.environ.pop(NUMBER, "1"))


def _take(name: str) -> int | None:
    """Return the pipe of this name, and hide it from programs that this process starts."""
    number = os.environ.pop(name, None)
    if number is None:
        return None
    os.set_inheritable(int(number), False)
    return int(number)
