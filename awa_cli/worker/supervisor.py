"""Keep worker processes running: several, or one that restarts when code changes.

Each child leads its own process group, so that Ctrl-C at the terminal reaches only the
supervisor, which passes it on once.  ``awa_cli.worker.supervised`` is the code of the child.

Signal handlers only count the signal and wake the loop.  Only the loop starts, signals and reaps
children, so that no signal is lost while a child is being started.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from awa_cli.errors import ExitCode
from awa_cli.terminal import output
from awa_cli.worker.supervised import NUMBER, READY_PIPE, start_child
from awa_lib.db.jitter import RANDOM

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["Supervisor", "child_argv"]

_TICK_SECONDS: Final = 0.2
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
# A child that lived this long did not crash at start; its restart delay is reset.
_STEADY_SECONDS: Final = 60.0
# How long a child that cannot start waits for the other children.
_VERDICT_SECONDS: Final = 10.0
# A worker ends within its drain and 2 s; 1 s is for the interpreter.
_END_SECONDS: Final = 3.0
# Restarting does not help: the command line, the module or the schema is wrong.
_PERMANENT: Final = frozenset({ExitCode.USAGE, ExitCode.SCHEMA})
_DUTY_FAILED: Final = 70
_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "venv"})


@dataclass(slots=True)
class _Slot:
    """One child of the fleet, running or not."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    ready_pipe: int | None = None
    ready: bool = False
    started: float = 0.0
    delay: float = _FIRST_DELAY
    next_start: float = 0.0
    kill_at: float | None = None
    verdict: int | None = None
    reported: str = ""

    def close_pipe(self) -> None:
        if self.ready_pipe is not None:
            os.close(self.ready_pipe)
            self.ready_pipe = None


class Supervisor:
    """Runs ``argv`` in ``count`` processes until a signal.

    After the first signal the children have ``drain_seconds`` and 3 s more to end; then they are
    killed.  A second signal kills them at once.
    """

    def __init__(
        self,
        argv: Sequence[str],
        count: int,
        *,
        watch: Path | None = None,
        drain_seconds: float = 30.0,
    ) -> None:
        self._argv = list(argv)
        self._slots = [_Slot(number + 1) for number in range(count)]
        self._watch = watch
        self._end_seconds = drain_seconds + _END_SECONDS
        self._seen: dict[str, float] = {}
        self._noted = 0
        self._obeyed = 0
        self._any_ready = False
        self._waiting_for_change = False
        self._codes: list[int] = []
        self._read_end, self._write_end = os.pipe()
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> int:
        """Start the children and keep them running; return the exit status."""
        self._install()
        if self._watch:
            self._seen = _snapshot(self._watch)
        given_up: int | None = None
        while True:
            self._obey()
            self._reap()
            if self._obeyed or given_up is not None:
                if not any(slot.process for slot in self._slots):
                    break
            elif (given_up := self._permanent_failure()) is not None:
                self._stop_all()
            else:
                self._start_due()
                if self._watch:
                    self._look_for_changes(self._watch)
            self._kill_overdue()
            self._sleep()
        if self._obeyed > 1:
            return ExitCode.INTERRUPTED
        if given_up is not None:
            return given_up
        well = {0, -signal.SIGTERM}
        return ExitCode.FAILED if any(code not in well for code in self._codes) else ExitCode.OK

    def _install(self) -> None:
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup ignores SIGHUP on purpose.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)
        # A handler, because the default action does not wake the loop.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # A closed terminal may send SIGHUP twice; the second must not kill the children.
        if number != signal.SIGHUP or not self._noted:
            self._noted += 1

    def _obey(self) -> None:
        while self._obeyed < self._noted:
            self._obeyed += 1
            if self._obeyed == 1:
                _say("stopping: workers drain; a second signal stops them at once")
                self._stop_all()
            elif self._obeyed == 2:  # noqa: PLR2004 - the second signal kills
                for slot in self._slots:
                    _kill(slot)

    def _stop_all(self) -> None:
        for slot in self._slots:
            self._stop(slot)

    def _stop(self, slot: _Slot) -> None:
        if slot.process is not None:
            # Not by Popen, which would reap a dead child unnoticed.
            os.kill(slot.process.pid, signal.SIGTERM)
            slot.kill_at = time.monotonic() + self._end_seconds

    def _kill_overdue(self) -> None:
        for slot in self._slots:
            if slot.kill_at is not None and time.monotonic() >= slot.kill_at:
                slot.kill_at = None
                _say(
                    f"worker {slot.number} did not end within {self._end_seconds:g} s and is "
                    "killed; another worker will rescue its jobs"
                )
                _kill(slot)

    def _sleep(self) -> None:
        pipes = [slot.ready_pipe for slot in self._slots if slot.ready_pipe is not None]
        select.select([self._wake_read, *pipes], [], [], _TICK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        for slot in self._slots:
            self._read_ready(slot)

    def _read_ready(self, slot: _Slot) -> None:
        """Read whether the child is ready; the end of the pipe means that it is not."""
        if slot.ready_pipe is None:
            return
        try:
            slot.ready = os.read(slot.ready_pipe, 1) != b""
        except BlockingIOError:
            return
        slot.close_pipe()
        if slot.ready:
            self._recovered(slot)

    def _recovered(self, slot: _Slot) -> None:
        if slot.reported:
            _say(f"worker {slot.number} has recovered")
        slot.reported = ""
        slot.verdict = None
        self._any_ready = True

    def _reap(self) -> None:
        """Reap dead children; as PID 1 of a container also those of other processes."""
        by_pid = {slot.process.pid: slot for slot in self._slots if slot.process}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (slot := by_pid.get(pid)) is not None and slot.process is not None:
                code = os.waitstatus_to_exitcode(status)
                # Popen must neither wait for this pid again nor signal it.
                slot.process.returncode = code
                self._read_ready(slot)
                slot.close_pipe()
                slot.process = None
                if self._noted:
                    self._codes.append(code)
                self._ended(slot, code)

    def _ended(self, slot: _Slot, code: int) -> None:
        """Decide when to restart the child; log a repeated failure only once."""
        asked = slot.kill_at is not None
        slot.kill_at = None
        now = time.monotonic()
        if self._noted or asked:
            return
        if self._watch:
            _say("the worker ended; it restarts when a file changes")
            self._waiting_for_change = True
            return
        if now - slot.started > _STEADY_SECONDS:
            self._recovered(slot)
            slot.delay = _FIRST_DELAY
        if not slot.ready:
            slot.verdict = code if code in _PERMANENT else None
        if slot.verdict is not None and not self._any_ready:
            # The other children decide: see _permanent_failure.
            slot.next_start = now + _VERDICT_SECONDS
            return
        pause = slot.delay * RANDOM.uniform(0.5, 1.0)
        slot.next_start = now + pause
        slot.delay = min(slot.delay * 2, _LONGEST_DELAY)
        if not slot.ready and slot.reported == _status(code):
            return
        again = f"restarting in {pause:.1f} s"
        if not slot.ready:
            slot.reported = _status(code)
            again = "restarting with increasing delays, at most 30 s"
        _say(f"worker {slot.number} ended with {_status(code)}; {again}")

    def _permanent_failure(self) -> int | None:
        """Return the exit status if no child was ever ready and none can become ready."""
        codes = [slot.verdict for slot in self._slots]
        if self._any_ready or self._watch or None in codes:
            return None
        return codes[0]

    def _start_due(self) -> None:
        for slot in self._slots:
            if slot.process is not None or self._waiting_for_change:
                continue
            if slot.verdict is not None and self._any_ready:
                slot.next_start = min(slot.next_start, time.monotonic() + _FIRST_DELAY)
            if time.monotonic() >= slot.next_start and not self._noted:
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        slot.started = time.monotonic()
        slot.ready = False
        slot.ready_pipe, write_end = os.pipe()
        os.set_blocking(slot.ready_pipe, False)
        try:
            slot.process = start_child(
                self._argv,
                self._read_end,
                env={READY_PIPE: str(write_end), NUMBER: str(slot.number)},
                pipes=[write_end],
            )
        except OSError as error:
            slot.close_pipe()
            slot.next_start = slot.started + slot.delay
            slot.delay = min(slot.delay * 2, _LONGEST_DELAY)
            if slot.reported != str(error):
                _say(f"worker {slot.number} cannot be started: {error}; retrying")
                slot.reported = str(error)
        finally:
            os.close(write_end)

    def _look_for_changes(self, root: Path) -> None:
        now = _snapshot(root)
        if now == self._seen:
            return
        changed = {file for file, _ in now.items() ^ self._seen.items()}
        self._seen = now
        _say(f"{Path(min(changed)).relative_to(root)} changed: restarting")
        self._waiting_for_change = False
        for slot in self._slots:
            self._stop(slot)
            slot.next_start = 0.0


def _kill(slot: _Slot) -> None:
    """Kill a child and the processes that it started: they are one process group."""
    if slot.process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(slot.process.pid, signal.SIGKILL)


def _say(text: str) -> None:
    # The terminal may be closed, and the children still need their supervisor.
    with contextlib.suppress(OSError, output.ReaderLeft):
        output.say(text)
        sys.stderr.flush()


def _status(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"status {code}" + (" (a background task kept failing)" if code == _DUTY_FAILED else "")


def _snapshot(root: Path) -> dict[str, float]:
    """Return the Python files below a folder with their modification times."""
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


def child_argv(arguments: Sequence[str]) -> list[str]:
    """Return the command line of one child."""
    return [sys.executable, "-m", "awa_cli", *arguments]
