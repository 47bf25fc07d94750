"""``python -m tests.chaos.away``: what ``awa worker`` writes and uses while the database is away.

Two worker processes that have been idle for some seconds; then the server is stopped for a minute.
Writes a section of docs/reliability.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from fix_own_server import OwnServer  # noqa: E402 - found in the folders above
from fix_wait import eventually  # noqa: E402
from report import machine, write  # noqa: E402

import awa_lib as awa  # noqa: E402

WORKERS, IDLE_SECONDS, SECONDS = 2, 20, 60
MODULE = """
import os
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="mail", queue="mail")
async def mail(job): ...

@client.task(dict, kind="image", queue="images")
async def image(job): ...
"""
TICKS = os.sysconf("SC_CLK_TCK")


def used(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="awa-away-") as folder, ExitStack() as stack:
        place = Path(folder)
        place.chmod(0o711)
        server = OwnServer(place / "server")
        stack.callback(server.stop)
        with awa.Client(server.url) as client:
            client.migrate()
        (place / "shop.py").write_text(MODULE)
        logs = [place / f"{number}.log" for number in range(WORKERS)]
        workers = []
        for log in logs:
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "awa_cli", "worker", "shop:client"],
                    env=os.environ
                    | {"DATABASE_URL": server.url, "PYTHONPATH": f"{HERE.parents[1]}"},
                    cwd=place,
                    stdout=log.open("w"),
                    stderr=subprocess.STDOUT,
                )
            )
            stack.callback(workers[-1].kill)
            eventually(lambda log=log: "worker started" in log.read_text(), 60)
        pids = [worker.pid for worker in workers]
        before = list(map(used, pids))
        time.sleep(IDLE_SECONDS)  # the time itself is what is measured
        idle = [(used(pid) - b) / IDLE_SECONDS for pid, b in zip(pids, before, strict=True)]
        lines = [log.read_text().count("\n") for log in logs]
        server.stop("fast")
        time.sleep(2)
        before = list(map(used, pids))
        time.sleep(SECONDS - 2)
        away = [(used(pid) - b) / (SECONDS - 2) for pid, b in zip(pids, before, strict=True)]
        server.start()
        said = [log.read_text().count("\n") - n for log, n in zip(logs, lines, strict=True)]
    write(
        "away",
        [
            "| worker | processor, idle | processor, without a database | log lines in the minute |",
            "|---|---|---|---|",
            *(
                f"| {n} | {i:.1%} | {a:.1%} | {s} |"
                for n, (i, a, s) in enumerate(zip(idle, away, said, strict=True), 1)
            ),
            "",
            f"Measured on {machine()}, with `python -m tests.chaos.away`.",
            f"The load average of the machine was {os.getloadavg()[0]:.0f}.",
        ],
    )


if __name__ == "__main__":
    main()
