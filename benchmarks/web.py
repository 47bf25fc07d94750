"""Measure ``awa serve``: start, memory, requests per second with latencies, live watchers, pages.

    python benchmarks/web.py --database-url postgresql://localhost/app --jobs 100000

The client runs in processes of its own, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from http.client import HTTPConnection

import psycopg

from awa_lib import Client


def main() -> int:
    options = read_options()
    with Client(options.database_url) as client:
        client.migrate()
        if options.jobs:
            client.enqueue_many_copy(({"n": n} for n in range(options.jobs)), kind="bench")
        url = client._resolve()
        report = measure(options, url)
    print(json.dumps(report, indent=2))
    return 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL", "embedded:"))
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--path", default="/api/queues")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=int, default=500, help="requests per second; 0 for no limit")
    parser.add_argument("--watchers", type=int, default=200)
    return parser.parse_args()


def measure(options: argparse.Namespace, url: str) -> dict:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    argv = [sys.executable, "-m", "awa_cli", "serve", "--port", str(port)]
    process = subprocess.Popen(
        argv, env={**os.environ, "DATABASE_URL": url}, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(port, "/healthz")
        report = {"start_seconds": round(time.perf_counter() - began, 3)}
        wait_for(port, "/kinds")
        report["first_page_seconds"] = round(time.perf_counter() - began, 3)
        report["rss_mb_idle"] = rss(process.pid)
        used = cpu(process.pid)
        report["start_cpu_seconds"] = round(used, 3)
        with ProcessPoolExecutor(1) as pool:
            found = pool.submit(load, port, options.path, options).result()
        used = cpu(process.pid) - used
        found["server_cpu_ms_per_request"] = round(1000 * used / found["requests"], 3)
        report["load"] = found
        report["rss_mb_after_load"] = rss(process.pid)
        report["watchers"] = asyncio.run(watch(port, options.watchers, url))
        report["rss_mb_with_watchers"] = rss(process.pid)
        report["pages"] = {path: page(port, path) for path in pages(url)}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    report["exit_status"] = process.returncode
    return report


def wait_for(port: int, path: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                if sock.recv(12) == b"HTTP/1.1 200":
                    return
        except OSError:
            time.sleep(0.005)
    raise SystemExit("the server did not start")


def rss(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        (line,) = [one for one in file if one.startswith("VmRSS")]
    return round(int(line.split()[1]) / 1024, 1)


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process, which depend little on other load."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, path: str, options: argparse.Namespace) -> dict:
    times = asyncio.run(_load(port, path, options))
    times.sort()
    return {
        "path": path,
        "requests": len(times),
        "requests_per_second": round(len(times) / options.seconds),
        "p50_ms": round(1000 * times[len(times) // 2], 2),
        "p99_ms": round(1000 * times[int(len(times) * 0.99)], 2),
        "max_ms": round(1000 * times[-1], 2),
    }


async def _load(port: int, path: str, options: argparse.Namespace) -> list[float]:
    """Send at an even rate; a latency counts from the time its request was due."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    start = loop.time()
    pause = options.connections / options.rate if options.rate else 0.0

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = start + (number / options.rate if options.rate else 0)
        while due < start + options.seconds:
            await asyncio.sleep(max(0, due - loop.time()))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head[:80]
            (length,) = [
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ]
            await reader.readexactly(length)
            times.append(loop.time() - due)
            due = due + pause if pause else loop.time()
        writer.close()

    await asyncio.gather(*[one(number) for number in range(options.connections)])
    return times


async def watch(port: int, number: int, url: str) -> dict:
    """Open live streams and count the server's statements meanwhile."""
    streams = []
    for _ in range(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /api/events?topic=queues HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        )
        await reader.readuntil(b"event: queues")
        streams.append(writer)
    before = statements(url)
    await asyncio.sleep(10)
    after = statements(url)
    for writer in streams:
        writer.close()
    return {"streams": number, "transactions_in_10_s": after - before}


def pages(url: str) -> list[str]:
    """Return the URLs of pages, with a job, a kind and a queue that exist."""
    with Client(url) as client:
        (job,) = client.list_jobs(limit=1)
    return [
        "/", "/jobs", "/jobs?state=failed", "/jobs?state=available&state=completed",
        f"/jobs?kind={job.kind}&state=failed", f"/jobs?queue={job.queue}", "/jobs?since=2h",
        "/jobs?error=refused", "/jobs?error=no+such+words", "/jobs?where=customer%3D17",
        f"/jobs/{job.id}", "/queues", f"/queues/{job.queue}", "/kinds", f"/kinds/{job.kind}",
        "/workers", "/cron", "/dlq", "/batches", "/activity", "/storage", "/doctor", "/audit",
    ]  # fmt: skip


def page(port: int, path: str) -> dict:
    """Request a page as a browser does, each time after the cache has expired."""
    times, size = [], 0
    for look in range(6):
        if look:
            time.sleep(1.1)
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept-Encoding": "gzip", "Accept": "text/html"})
        answer = connection.getresponse()
        size = len(answer.read())
        times.append(1000 * (time.perf_counter() - began))
        connection.close()
    return {
        "status": answer.status, "first_ms": round(times[0], 1),
        "median_ms": round(statistics.median(times[1:]), 1), "bytes": size,
    }  # fmt: skip


def statements(url: str) -> int:
    """Return the number of transactions so far; each statement of the server is one."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT pg_stat_clear_snapshot()")
        query = (
            "SELECT xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
        return conn.execute(query).fetchone()[0]


if __name__ == "__main__":
    sys.exit(main())
