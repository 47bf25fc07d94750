"""``awa tui`` at a terminal: it is left as it was, whatever ends or stops the monitor."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_cli import argv, environment
from fix_wait import eventually

MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")
ENDING = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGINT)


class Terminal:
    """A terminal and what was shown on it."""

    def __init__(self) -> None:
        self.leader, self.follower = pty.openpty()
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.first = termios.tcgetattr(self.follower)
        self.shown = b""
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, words: list[str], url: str, **options) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            words, env=environment(url, TERM="xterm-256color", PS1="$ "),
            stdin=self.follower, stdout=self.follower, stderr=self.follower, **options,
        )  # fmt: skip
        self.started.append(process)
        return process

    def until(self, text: bytes, since: int = 0, seconds: float = 60) -> int:
        """Read until a text was shown, and return where what follows will begin."""
        end = time.monotonic() + seconds
        while text not in self.shown[since:]:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.leader], [], [], left)[0]:
                pytest.fail(f"{text!r} was not shown: {self.shown[-2000:]!r}")
            self.shown += os.read(self.leader, 65536)
        return len(self.shown)

    def wait(self, process: subprocess.Popen[bytes], seconds: float = 60) -> int:
        """Read until a process has ended, which a full terminal keeps it from; return its status."""
        ended = os.pidfd_open(process.pid)
        end = time.monotonic() + seconds
        try:
            ready: list[int] = []
            while ended not in ready:
                left = max(0.0, end - time.monotonic())
                if not (ready := select.select([self.leader, ended], [], [], left)[0]):
                    pytest.fail(f"it has not ended: {self.shown[-2000:]!r}")
                if self.leader in ready:
                    self.shown += os.read(self.leader, 65536)
        finally:
            os.close(ended)
        self.rest()
        return process.wait(timeout=30)

    def rest(self) -> None:
        """Read what is there."""
        while select.select([self.leader], [], [], 0)[0]:
            self.shown += os.read(self.leader, 65536)

    @property
    def modes(self) -> set[bytes]:
        """The private modes that are on; those of the cursor and of wrapped lines are at first."""
        on = {b"25", b"7"}
        for names, what in MODE.findall(self.shown):
            for name in names.split(b";"):
                on = on | {name} if what == b"h" else on - {name}
        return on - {b"7"}


@pytest.fixture
def terminal_of() -> Iterator[Terminal]:
    one = Terminal()
    try:
        yield one
    finally:
        for process in one.started:
            process.kill()
            process.wait(timeout=30)
        os.close(one.leader)
        os.close(one.follower)


@pytest.mark.parametrize("number", ENDING, ids=lambda one: one.name)
def test_a_signal_leaves_the_terminal_as_it_was(
    terminal_of: Terminal, database_url, number
) -> None:
    process = terminal_of.start(argv("tui"), database_url)
    terminal_of.until(b"Overview")
    assert {b"1049", b"1000"} <= terminal_of.modes
    assert b"25" not in terminal_of.modes

    process.send_signal(number)
    status = terminal_of.wait(process)

    assert status == 128 + number
    assert terminal_of.modes == {b"25"}
    assert termios.tcgetattr(terminal_of.follower) == terminal_of.first


def test_a_picture_is_not_claimed_to_be_drawn_when_it_failed(database_url, tmp_path) -> None:
    picture = tmp_path / "x.svg"
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, "--screenshot", picture],
        env=environment(database_url), capture_output=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1
    assert b"unexpected ValueError: no such place" in done.stderr
    assert not picture.exists()


HUNG = """
import sys, time
from awa_cli.tui import app

def hang(self):
    print("hangs", file=sys.__stderr__, flush=True)
    while True:
        time.sleep(0.1)

app.Monitor.on_ready = hang
from awa_cli.main import main
sys.exit(main(["tui"]))
"""


def test_a_monitor_that_hangs_is_ended_and_its_terminal_restored(
    terminal_of: Terminal, database_url
) -> None:
    process = terminal_of.start([sys.executable, "-c", HUNG], database_url)
    terminal_of.until(b"hangs")
    assert b"1049" in terminal_of.modes

    process.send_signal(signal.SIGTERM)
    status = terminal_of.wait(process)

    assert status == 128 + signal.SIGTERM
    assert terminal_of.modes == {b"25"}
    assert termios.tcgetattr(terminal_of.follower) == terminal_of.first


# More than the kernel keeps of a terminal that nobody reads: 64 KiB and a page.
BLOCKED = HUNG.replace("    while", "    sys.__stderr__.write('x' * 100_000)\n    while")


def test_a_terminal_that_takes_nothing_does_not_keep_a_monitor_from_its_end(
    terminal_of: Terminal, database_url
) -> None:
    process = terminal_of.start([sys.executable, "-c", BLOCKED], database_url)
    terminal_of.until(b"hangs")
    # Python does not see a signal that comes just before a write that waits.
    doing = Path(f"/proc/{process.pid}/syscall")
    eventually(lambda: re.match(r"\d+ 0x2 ", doing.read_text()), timeout=30)

    process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=30)  # nobody reads meanwhile

    assert status == 128 + signal.SIGTERM
    assert termios.tcgetattr(terminal_of.follower) == terminal_of.first


BROKEN = """
import sys
from awa_cli.tui import app

def fail(self):
    args = {"card": "4111-1111"}
    raise ValueError("no such place")

app.Monitor.on_ready = fail
from awa_cli.main import main
sys.exit(main(["tui", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("words", [[], ["-vv"]], ids=["quiet", "verbose"])
def test_a_fault_is_told_without_the_values_of_variables(
    terminal_of: Terminal, database_url, words
) -> None:
    process = terminal_of.start([sys.executable, "-c", BROKEN, *words], database_url)
    status = terminal_of.wait(process)

    assert status == 1
    assert terminal_of.modes == {b"25"}
    assert b"unexpected ValueError: no such place" in terminal_of.shown
    assert (b"Traceback" in terminal_of.shown) is bool(words)
    assert b"4111-1111" not in terminal_of.shown


def test_it_is_suspended_and_goes_on(terminal_of: Terminal, database_url) -> None:
    shell = terminal_of.start(
        ["bash", "--norc", "--noprofile", "-i"], database_url, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    try:
        terminal_of.until(b"$ ")
        os.write(terminal_of.leader, shlex.join(argv("tui")).encode() + b"\n")
        drawn = terminal_of.until(b"Overview")

        os.write(terminal_of.leader, b"\x1a")
        stopped = terminal_of.until(b"Stopped", drawn)
        assert terminal_of.modes - {b"2004"} == {b"25"}  # the shell's own

        os.write(terminal_of.leader, b"fg\n")
        again = terminal_of.until(b"Overview", stopped)
        assert b"1049" in terminal_of.modes

        os.write(terminal_of.leader, b"q")
        again = terminal_of.until(b"$ ", again)
        os.write(terminal_of.leader, b"echo status-$?\n")
        terminal_of.until(b"status-0", again)
        assert terminal_of.modes - {b"2004"} == {b"25"}
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait(timeout=30)


LATE = """
import sys
from awa_cli.tui import app

def fail(self):
    self.exit(return_code=0)
    raise ValueError("half made")

app.Monitor.on_ready = fail
from awa_cli.main import main
sys.exit(main(["tui"]))
"""


def test_a_fault_of_a_monitor_that_exits_is_nobodys_concern(
    terminal_of: Terminal, database_url
) -> None:
    """Keys that follow q open pages which are torn down half made."""
    process = terminal_of.start([sys.executable, "-c", LATE], database_url)
    status = terminal_of.wait(process)

    assert status == 0
    assert b"half made" not in terminal_of.shown
    assert terminal_of.modes == {b"25"}


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_without_a_terminal_it_is_refused_in_a_sentence(
    terminal_of: Terminal, database_url, stream
) -> None:
    ends = {"stdin": terminal_of.follower, "stdout": terminal_of.follower}
    ends[stream] = subprocess.DEVNULL
    done = subprocess.run(
        argv("tui"), env=environment(database_url), **ends, stderr=subprocess.PIPE, timeout=60
    )

    what, why, do = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert what == "error: the monitor needs a terminal"
    assert why == f"  why: {stream} is not one"
    assert "--screenshot FILE.svg" in do
