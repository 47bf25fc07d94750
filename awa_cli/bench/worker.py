"""A worker process of a measurement.

It reads the URL from DATABASE_URL, because a command line would show a password.  It prints a line
when it is ready, and a line with its latencies when it ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

import awa_lib as awa
from awa_cli.worker.supervised import stop_with_parent


def main(url: str, name: str, concurrency: int) -> None:
    """Run jobs that do nothing, and measure how late each job with a time started."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    stop_with_parent()
    client = awa.AsyncClient(url)
    latencies: list[float] = []

    @client.task(dict, kind=name, queue=name)
    async def work(job: awa.Job[dict[str, Any]]) -> None:
        if (enqueued := job.args.get("at")) is not None:
            latencies.append(time.time() - enqueued)

    _say(ready=time.time())
    # Maintenance would touch other jobs.
    awa.run(client, [(name, concurrency)], drain_timeout=2, leads=False)
    _say(latencies=latencies)


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(os.environ["DATABASE_URL"], sys.argv[1], int(sys.argv[2]))
