"""One worker process of the demo; DATABASE_URL names the database, as it may hold a password."""

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
    """Work both queues until told to stop, or until the demo is gone."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    stop_with_parent()
    # Handlers in threads store what they found through a small pool of their own.
    app = awa.Client(url, max_connections=4)

    def store(op: Op[Any]) -> None:
        app._run(op)  # noqa: SLF001 - an app would run its own statements here

    client = awa.AsyncClient(url)
    register(client, store)
    # A dead worker is noticed within two seconds here; the defaults are 30 and 90.
    awa.run(
        client,
        [(FILES, 6), (LARGE, 3)],
        drain_timeout=2,
        heartbeat_interval_ms=500,
        heartbeat_staleness_ms=2_000,
        heartbeat_rescue_interval_ms=500,
        leader_election_interval_ms=500,
    )


if __name__ == "__main__":
    main(os.environ["DATABASE_URL"])
