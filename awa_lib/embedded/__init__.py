"""PostgreSQL on tap: a private server that starts when somebody needs it and stops after the last.

``acquire("embedded:")`` gives a server whose ``url`` any driver accepts.  Processes that name the
same directory share one server.  Each holds a shared lock on a file; the kernel drops the lock of
a process that dies in whatever way, and a small detached supervisor stops the server when no lock
is left.  So nothing has to be cleaned up after a crash.

Keep the directory on a local disk.  NFS emulates these locks, or leaves them out, and PostgreSQL
itself is not safe there without care.  Linux and macOS only.
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
