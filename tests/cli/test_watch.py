"""``awa queue stats --watch``: refreshed in place at a terminal, repeated in a pipe."""

from __future__ import annotations

import os
import signal
import subprocess

from fix_cli import argv, environment


def test_watching(database_url, add) -> None:
    add()
    running = subprocess.Popen(
        argv("queue", "stats", "--watch", "--interval", "100ms", "-o", "ndjson"),
        env=environment(database_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout
    assert '"available":1,' in running.stdout.readline()
    add()
    while '"available":2,' not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (130, "")


def test_watching_at_a_terminal_draws_in_place(database_url, add) -> None:
    import pty

    add()
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        argv("queue", "stats", "-w"),
        env=environment(database_url, TERM="xterm-256color"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while b"Ctrl-C to stop" not in shown:
        shown += os.read(leader, 65536)
    running.send_signal(signal.SIGINT)
    while True:
        try:
            shown += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    assert running.wait(timeout=10) == 130
    assert b"\x1b[?1049h" in shown  # the other screen
    assert shown.endswith(b"\x1b[?25h\x1b[?1049l")  # cursor shown, screen left again
    assert b"email" in shown
