"""A private PostgreSQL server that starts with its first client and stops after the last.

``acquire("embedded:")`` returns a server whose ``url`` any driver accepts.  Processes that name the
same directory share one server.  Each holds a shared lock on a file, which the kernel releases
however the process ends.  A small detached supervisor stops the server when no lock is left, so
nothing has to be cleaned up after a crash.

Keep the directory on a local disk: NFS emulates or omits these locks, and PostgreSQL itself needs
care there.  Linux and macOS only.
"""

from __future__ import annotations

from awa_lib.embedded.binaries import Binaries, find_binaries
from awa_lib.embedded.control import ServerStatus, reset, status, stop
from awa_lib.embedded.layout import data_dir, is_embedded
from awa_lib.embedded.server import Server, acquire

__all__ = [
    "Binaries",
    "Server",
    "ServerStatus",
    "acquire",
    "data_dir",
    "find_binaries",
    "is_embedded",
    "reset",
    "status",
    "stop",
]
