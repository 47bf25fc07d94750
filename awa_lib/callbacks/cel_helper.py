"""The process that evaluates CEL expressions within limits; started on first use."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LARGEST", "OverBound", "ask"]

logger = logging.getLogger(__name__)

LARGEST: Final = 1_048_576
"""The maximum length of a payload and a result, in characters of JSON."""
_CPU_SECONDS: Final = 1.0
_MEMORY: Final = 256 * 1024 * 1024
# By the clock: on a busy machine a second of processor time takes longer.
_CLOCK_SECONDS: Final = 15.0
_START_SECONDS: Final = 30.0
_TRIES: Final = 3
# Signals from outside: the expression is tried again.
_OUTSIDE: Final = frozenset(
    -getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGKILL") if hasattr(signal, name)
)


class OverBound(Exception):
    """An expression exceeded its limit of time or memory."""


class _Helper:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        with self.lock:
            for _ in range(_TRIES):
                process = self.process or self._start()
                late = threading.Event()
                answer = _exchange(process, line, _CLOCK_SECONDS, late)
                if answer is not None:
                    return answer
                self.stop()
                if late.is_set() or process.returncode not in {*_OUTSIDE, 0}:
                    raise OverBound(f"it took more than {_CPU_SECONDS:g} s, or too much memory")
        raise AwaError(
            "a CEL expression could not be evaluated",
            why="the process that evaluates it was killed several times from outside",
        )

    def _start(self) -> subprocess.Popen[bytes]:
        script = str(Path(__file__).with_name("cel_process.py"))
        settings = {
            "path": sys.path,
            "memory": _MEMORY,
            "seconds": _CPU_SECONDS,
            "largest": LARGEST,
        }
        try:
            process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable or "python3", "-P", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUTF8": "1"},
            )
        except OSError as error:
            raise _no_start(str(error)) from error
        self.process = process
        ready = _exchange(
            process, json.dumps(settings).encode() + b"\n", _START_SECONDS, threading.Event()
        )
        if ready is None:
            self.stop()
            raise _no_start(f"it ended with status {process.returncode}")
        return process

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):  # unwritten data
                    stream.close()  # type: ignore[union-attr] # both are pipes
            process.wait()


def _no_start(why: str) -> AwaError:
    return AwaError(
        "the process that evaluates CEL expressions could not be started",
        why=why,
        hint=f"check that {sys.executable!r} is a Python interpreter",
    )


def _exchange(
    process: subprocess.Popen[bytes], line: bytes, seconds: float, late: threading.Event
) -> dict[str, Any] | None:
    """Return the answer, or None when the process has ended or was killed for being late."""

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line)
        process.stdin.flush()
        answer = process.stdout.readline()
    except OSError:
        answer = b""
    finally:
        timer.cancel()
    if not answer.endswith(b"\n"):
        process.kill()  # it has ended, unless only the pipe broke
        process.wait()
        return None
    found: dict[str, Any] = json.loads(answer)
    return found


_helper = _Helper()


def ask(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a request; see ``cel_process``.  Blocks, up to 15 s.

    Raises OverBound, and AwaError if the process cannot run.
    """
    answer = _helper.ask(request)
    if "over" in answer:
        raise OverBound("it took too much memory")
    return answer


def _forget() -> None:
    """Forget the process of the parent, in a forked child."""
    global _helper
    inherited, _helper = _helper, _Helper()
    if inherited.process is not None:
        inherited.process.returncode = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _stop() -> None:
    _helper.stop()
