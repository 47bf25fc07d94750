"""Measure ``awa tui`` at a terminal: first paint, filter, scrolling, cost of an idle screen.

    python benchmarks/monitor.py --database-url postgresql://localhost/app
    python benchmarks/monitor.py --activity 20

The second form follows 2,000 transitions per second on a database of its own, and measures the time
from a key to its effect on the screen.

The database should hold many jobs and have no worker.  The program runs at a pseudo-terminal; a
time ends when the bytes that show the result have arrived.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import suppress

from awa_lib import Client

COLUMNS, LINES = 120, 40
WORKER = """
import asyncio, sys
import awa_lib as awa

client = awa.AsyncClient(sys.argv[1])

@client.task(dict, kind="bench")
async def work(job):
    pass

awa.run(client, [("default", 100)])
"""
PAGE = LINES - 6
HELP = "Go to"
FILTER = "kind:…"
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


class Terminal:
    """``awa tui`` at a pseudo-terminal."""

    def __init__(self, *args: str, url: str) -> None:
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.began = time.perf_counter()
        # Filters are saved: each run starts without a saved state.
        self._home = tempfile.TemporaryDirectory()
        env = {"DATABASE_URL": url, "TERM": "xterm-256color", "XDG_CONFIG_HOME": self._home.name}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awa_cli", "tui", *args], env={**os.environ, **env},
            stdin=follower, stdout=follower, stderr=follower,
        )  # fmt: skip
        os.close(follower)
        self.text = b""

    def until(self, *texts: str, seconds: float = 30) -> float:
        """Wait until one of these was written since the last call; return the time."""
        end = time.perf_counter() + seconds
        wanted = [text.encode() for text in texts]
        while time.perf_counter() < end:
            if select.select([self._leader], [], [], 0.5)[0]:
                self.text += os.read(self._leader, 1 << 16)
                plain = ESCAPES.sub(b"", self.text)
                if any(text in plain for text in wanted):
                    moment = time.perf_counter()
                    self.text = b""
                    return moment
        raise SystemExit(f"{texts[:3]} was not shown in {seconds:g} s")

    def press(self, keys: str) -> float:
        """Read pending output, then type; return the time."""
        while select.select([self._leader], [], [], 0.4)[0]:
            os.read(self._leader, 1 << 16)
        self.text = b""
        os.write(self._leader, keys.encode())
        return time.perf_counter()

    def drain(self, seconds: float) -> None:
        """Read for a number of seconds."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self._leader], [], [], left)[0]:
                os.read(self._leader, 1 << 16)

    def cost(self) -> tuple[float, float]:
        """Return the CPU seconds so far and the MiB of memory."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> None:
        os.write(self._leader, b"q")
        with suppress(OSError):  # the other side is closed
            self.drain(20)
        os.close(self._leader)
        self.process.wait(timeout=20)
        self._home.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL", "embedded:"))
    parser.add_argument("--filter", default="kind:charge_card state:failed")
    parser.add_argument("--idle", type=float, default=30, help="seconds")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--activity", type=float, default=0, metavar="SECONDS")
    options = parser.parse_args()
    if options.activity:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)  # the embedded server may run as another user
            print(json.dumps(activity(f"embedded:{folder}/db", options.activity)))
        return
    with Client(options.database_url) as client:
        url = client._resolve()
        ids = [str(job.id) for job in client.list_jobs(limit=1000)]
    words = dict(word.split(":", 1) for word in options.filter.split())
    with Client(url) as client:
        chosen = [str(job.id) for job in client.list_jobs(limit=20, **words)]
    report: dict = {"measure": "monitor", "cpus": os.cpu_count()}
    paints, filters, pages = [], [], []
    for _ in range(options.reps):
        screen = Terminal("--screen", "jobs", url=url)
        paints.append(screen.until(ids[0]) - screen.began)
        screen.press("/")
        screen.press(options.filter)
        began = screen.press("\r")
        filters.append(screen.until(chosen[0]) - began)
        screen.close()
        screen = Terminal("--screen", "jobs", url=url)
        screen.until(ids[0])
        for number in range(1, 9):
            began = screen.press("\x1b[6~")
            pages.append(screen.until(*ids[number * PAGE : (number + 2) * PAGE]) - began)
        screen.close()
    for name, found in (("first paint", paints), ("filter", filters), ("page", pages)):
        report[name] = {
            "median_ms": round(1000 * statistics.median(found)), "max_ms": round(1000 * max(found))
        }  # fmt: skip
    screen = Terminal(url=url)
    screen.until("Busiest")
    screen.drain(10)
    before, began = screen.cost()[0], time.perf_counter()
    screen.drain(options.idle)
    after, memory = screen.cost()
    report["idle"] = {
        "core_percent": round(100 * (after - before) / (time.perf_counter() - began), 2),
        "rss_mib": round(memory, 1),
    }
    screen.close()
    print(json.dumps(report))


def activity(url: str, seconds: float) -> dict:
    """Follow jobs that are inserted and worked, and press keys: a slow screen shows them late.

    Each job has three transitions: created, running, completed.
    """
    done = threading.Event()
    inserted = 0

    def insert(client: Client) -> None:
        nonlocal inserted
        due = time.perf_counter()
        while not done.is_set():
            client.insert_many([{"n": n} for n in range(34)], kind="bench")
            inserted += 34
            due += 0.05
            done.wait(max(0.0, due - time.perf_counter()))

    with Client(url) as client:
        client.migrate()
        resolved = client._resolve()
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, resolved], stderr=subprocess.DEVNULL
        )
        screen = Terminal("--screen", "activity", url=resolved)
        screen.until("Activity")
        thread = threading.Thread(target=insert, args=[client])
        began = time.perf_counter()
        thread.start()
        screen.until("completed")
        delays: dict[str, list[float]] = {"help": [], "close": [], "filter": []}
        while time.perf_counter() - began < seconds:
            for name, key, shown in (
                ("help", "?", HELP), ("close", "?", "bench"), ("filter", "/", FILTER),
            ):  # fmt: skip
                screen.drain(0.2)
                screen.text = b""
                asked = time.perf_counter()
                os.write(screen._leader, key.encode())
                delays[name].append(screen.until(shown) - asked)
            os.write(screen._leader, b"\x1b")
        done.set()
        thread.join()
        rate = 3 * inserted / (time.perf_counter() - began)
        screen.close()
        worker.terminate()
        worker.wait(timeout=20)
    every = sorted(delay for found in delays.values() for delay in found)
    return {
        "measure": "activity", "transitions_per_second": round(rate), "keys": len(every),
        "median_ms": round(1000 * statistics.median(every)), "max_ms": round(1000 * every[-1]),
        "by_key": {
            name: [round(1000 * statistics.median(found)), round(1000 * max(found))]
            for name, found in delays.items()
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
