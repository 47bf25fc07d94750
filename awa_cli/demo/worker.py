"""A worker process of the demo.

It reads the URL from DATABASE_URL, because a command line would show a password.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, TypeVar

import awa_lib as awa
from awa_cli.demo.jobs import FILES, LARGE, register
from awa_cli.worker.supervised import stop_with_parent

if TYPE_CHECKING:
    from awa_lib._sql import Op

R = TypeVar("R")


def main(url: str) -> None:
    """Process both queues until a signal, or until the demo has ended."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    stop_with_parent()
    # Handlers run in threads and store their results through a pool of their own.
    app = awa.Client(url, max_connections=4)

    def store(op: Op[Any]) -> None:
        app._run(op)  # noqa: SLF001 - an application would run its own statements here

    client = awa.AsyncClient(url)
    register(client, store)
    # As any worker: the jobs of one that is killed run again within 15 seconds.
    awa.run(client, [(FILES, 6), (LARGE, 3)], drain_timeout=2)


if __name__ == "__main__":
    main(os.environ["DATABASE_URL"])
