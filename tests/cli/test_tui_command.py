"""``awa tui`` as a command: what it refuses, and what it draws without a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios

import pytest
from fix_cli import argv, environment


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--screen", "job"], "did you mean: --screen jobs"),
        (["--filter", "sate:failed"], "did you mean: state:failed"),
        (["--screen", "workflows", "--filter", "nmae:x"], "did you mean: name:x"),
        (["--screen", "workflows", "--filter", "kind:x"], "workflows can be filtered by state"),
        (["--theme", "awa-darc"], "did you mean: --theme awa-dark"),
        (["--interval", "soon"], "write it like 90s"),
        (["--size", "wide"], "--size 160x45"),
    ],
)
def test_a_mistake_is_said_before_anything_is_drawn(cli, words, said) -> None:
    ran = cli("tui", *words)

    assert (2, "") == (ran.status, ran.out)
    assert said in ran.err


def test_a_key_for_nothing_is_said_with_the_nearest_name(cli, config) -> None:
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('[tui.keys]\n"queue.pauze" = "P"\n')
    ran = cli("tui")

    assert 2 == ran.status
    assert "did you mean: queue.pause" in ran.err


def test_a_frame_is_drawn_without_a_terminal(cli, add, tmp_path) -> None:
    add(kind="send_email")
    path = tmp_path / "jobs.svg"
    ran = cli("tui", "--screen", "jobs", "--screenshot", path, "--size", "80x24")
    drawn = path.read_text()

    assert (0, f"Wrote {path}\n") == (ran.status, ran.out)
    assert "send_email" in drawn
    assert "https://cdn" not in drawn


def test_a_frame_of_a_database_that_is_away_is_an_error(offline, tmp_path) -> None:
    path = tmp_path / "x.svg"
    url = "postgresql://u:secret@127.0.0.1:1/x"
    ran = offline("tui", "--database-url", url, "--screenshot", path)

    assert 3 == ran.status
    assert "cannot connect to u@127.0.0.1:1/x" in ran.err
    assert "secret" not in ran.err + ran.out
    assert not path.exists()


def test_a_session_is_recorded(database_url, tmp_path) -> None:
    """At a terminal, which is told to end once something is seen there."""
    path = tmp_path / "session.cast"
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        argv("tui", "--record", path), env=environment(database_url, TERM="xterm-256color"),
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    shown, after = b"", None
    while block := _read(leader):
        shown += block
        if after is None and b"Overview" in shown and b"live" in shown:
            fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            process.send_signal(signal.SIGWINCH)
            after = len(shown)
        if after is not None and b"Overview" in shown[after:]:
            os.write(leader, b"q")
    os.close(leader)
    status = process.wait(timeout=30)
    head, *events = [json.loads(line) for line in path.read_text().splitlines()]

    assert 0 == status
    assert {"version": 2, "width": 80, "height": 24}.items() <= head.items()
    assert "Overview" in "".join(text for _, code, text in events if code == "o")
    assert "100x30" in [text for _, code, text in events if code == "r"]


def test_it_ends_with_its_terminal(database_url) -> None:
    """Without a SIGHUP too, as under nohup; what reads a dead terminal would spin."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        argv("tui"), env=environment(database_url, TERM="xterm-256color"),
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while b"Overview" not in shown and (block := _read(leader)):
        shown += block
    os.close(leader)

    try:
        process.wait(timeout=30)  # with whatever status: nobody is left to see it
    finally:
        process.kill()
    assert b"Overview" in shown


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux says EIO when the other side is closed
        return b""
