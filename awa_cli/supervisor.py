"""Keep worker processes running: several of them, or one that restarts when code changes.

Each child leads its own process group, so that Ctrl-C at the terminal reaches only the
supervisor, which passes it on once.  Each child also holds the read end of a pipe: when the
supervisor is killed, the pipe closes and the child drains by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awa_cli.errors import ExitCode
from awa_cli.output import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

__all__ = ["Supervisor", "start_child", "stop_with_parent"]

_PIPE: Final = "AWA_SUPERVISOR_PIPE"
_TICK_SECONDS: Final = 0.2
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
# A child that lived this long did not crash at start; its next delay is the first one again.
_STEADY_SECONDS: Final = 60.0
# A child that ends like this would end so again: the command line, the module or the schema.
_HOPELESS: Final = frozenset({ExitCode.USAGE, ExitCode.SCHEMA})
_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "venv"})


@dataclass(slots=True)
class _Slot:
    """One place of the fleet and the process that fills it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay: float = _FIRST_DELAY
    next_start: float = 0.0


class Supervisor:
    """Run ``argv`` in ``count`` processes until a signal; return the exit status."""

    def __init__(self, argv: Sequence[str], count: int, *, watch: Path | None = None) -> None:
        self._argv = list(argv)
        self._slots = [_Slot(number + 1) for number in range(count)]
        self._watch = watch
        self._seen: dict[str, float] = {}
        self._signals = 0
        self._waiting_for_change = False
        self._read_end, self._write_end = os.pipe()

    def run(self) -> int:
        """Start the children and look after them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if self._watch:
            self._seen = _snapshot(self._watch)
        while not self._signals:
            for slot in self._slots:
                if (code := self._tend(slot)) is not None:
                    self._signals = 1
                    self._pass_on(signal.SIGTERM)
                    self._wait()
                    return code
            if self._watch:
                self._look_for_changes(self._watch)
            time.sleep(_TICK_SECONDS)
        return self._wait()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            say("stopping: workers drain; once more to stop at once")
            self._pass_on(signal.SIGTERM)
        else:
            self._pass_on(signal.SIGKILL)

    def _pass_on(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.process and slot.process.poll() is None:
                slot.process.send_signal(number)

    def _wait(self) -> int:
        codes = [slot.process.wait() for slot in self._slots if slot.process]
        if self._signals > 1:
            return ExitCode.INTERRUPTED
        return ExitCode.FAILED if any(code not in {0, -signal.SIGTERM} for code in codes) else 0

    def _tend(self, slot: _Slot) -> int | None:
        """Start, or restart after a delay; return an exit status when that is hopeless."""
        if slot.process is not None:
            code = slot.process.poll()
            if code is None:
                return None
            slot.process = None
            if self._watch:
                say("the worker ended; it starts again when a file changes")
                self._waiting_for_change = True
                return None
            if code in _HOPELESS:
                return code
            if time.monotonic() - slot.started > _STEADY_SECONDS:
                slot.delay = _FIRST_DELAY
            say(f"worker {slot.number} ended with {_status(code)}; next start in {slot.delay:g} s")
            slot.next_start = time.monotonic() + slot.delay
            slot.delay = min(slot.delay * 2, _LONGEST_DELAY)
        if not self._waiting_for_change and time.monotonic() >= slot.next_start:
            self._start(slot)
        return None

    def _start(self, slot: _Slot) -> None:
        slot.started = time.monotonic()
        slot.process = start_child(self._argv, self._read_end)
        if self._signals:
            # The signal came while this child was being born.
            slot.process.send_signal(signal.SIGTERM)

    def _look_for_changes(self, root: Path) -> None:
        now = _snapshot(root)
        if now == self._seen:
            return
        changed = {file for file, _ in now.items() ^ self._seen.items()}
        self._seen = now
        say(f"{Path(min(changed)).relative_to(root)} changed: restarting")
        self._waiting_for_change = False
        for slot in self._slots:
            if slot.process and slot.process.poll() is None:
                slot.process.send_signal(signal.SIGTERM)
                slot.process.wait()
            slot.process = None
            slot.next_start = 0.0


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"


def _snapshot(root: Path) -> dict[str, float]:
    """Return the Python files below a folder with their times of change."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED
            and not name.startswith(".")
            and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)  # noqa: PTH118 - thousands of files each tick
                try:
                    found[path] = os.stat(path).st_mtime  # noqa: PTH116 - as above
                except FileNotFoundError:
                    continue
    return found


def start_child(
    argv: Sequence[str],
    pipe: int,
    *,
    env: Mapping[str, str] | None = None,
    output: Any = None,
    errors: Any = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own, holding the read end of our pipe."""
    return subprocess.Popen(  # noqa: S603 - our own command line
        argv,
        env={**os.environ, **(env or {}), _PIPE: str(pipe)},
        pass_fds=[pipe],
        start_new_session=True,
        stdout=output,
        stderr=errors,
    )


def stop_with_parent() -> None:
    """In a child: drain when the supervisor is gone."""
    number = os.environ.pop(_PIPE, None)
    if number is None:
        return

    def watch(pipe: int) -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=[int(number)], name="awa-supervised", daemon=True).start()


def child_argv(arguments: Sequence[str]) -> list[str]:
    """Return the command line of one child."""
    return [sys.executable, "-m", "awa_cli", *arguments]
