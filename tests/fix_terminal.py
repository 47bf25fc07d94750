"""A terminal whose output is read to its end."""

from __future__ import annotations

import os
import select


def read_to_end(pid: int, leader: int, follower: int, keys: str = "") -> bytes:
    """Return what the process ``pid`` shows until it ends; type ``keys`` when it asks.

    Closes both ends.  The follower must stay open in the caller until here: the last output has
    been seen to get lost when a terminal was closed on its side at the same time as it was read.
    """
    shown = b""
    ended = os.pidfd_open(pid)
    try:
        over = False
        while not over:
            ready, _, _ = select.select([leader, ended], [], [])
            over = ended in ready
            while select.select([leader], [], [], 0)[0]:
                shown += os.read(leader, 65536)
            if keys and shown.endswith(b": "):
                os.write(leader, keys.encode())
                keys = ""
    finally:
        for number in (ended, leader, follower):
            os.close(number)
    return shown
