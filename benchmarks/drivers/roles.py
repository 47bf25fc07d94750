"""The roles that every driver has; runs in the environment of each queue, with the stdlib only.

A driver is a class with coroutines setup, open(connections), insert(i, t), insert_batch(numbers,
t), close and work(concurrency, ready), and for a producer without an event loop open_sync and
insert_sync(i, t).  Its handlers await ``handle(t)``, or call ``block(t)`` when ``BLOCKS``.  The
jobs of a batch belong to ``place(numbers)``.  Roles print one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import mmap
import os
import resource
import signal
import sys
import time
from array import array
from concurrent.futures import ThreadPoolExecutor

WINDOW = float(os.environ.get("BENCH_WINDOW", "30"))
FLOW_PAUSE = 0.02
CALLERS = 50
URL = os.environ["BENCH_URL"]
# What a handler does: nothing, or it waits, or it blocks its thread.
WAITS = os.environ.get("BENCH_HANDLER") == "waits"
BLOCKS = os.environ.get("BENCH_HANDLER") == "blocks"
HANDLER_SECONDS = 0.005
QUEUES = int(os.environ.get("BENCH_QUEUES", "1"))
KINDS = int(os.environ.get("BENCH_KINDS", "1"))
handled = 0
last = 0.0


def tally() -> memoryview:
    """Return a number that the measure can read without a question to the database."""
    if path := os.environ.get("BENCH_TALLY"):
        with open(path, "r+b") as file:
            return memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
    return memoryview(bytearray(8)).cast("q")


shown = tally()
latencies = array("d")
enqueued = array("d")


def note(t: float) -> None:
    """Count a job; ``t`` is the wall clock at its enqueue, or 0."""
    global handled, last
    handled += 1
    shown[0] = handled
    last = time.time()
    if t:
        latencies.append(last - t)
        enqueued.append(t)


async def handle(t: float) -> None:
    """Run a job."""
    if WAITS:
        await asyncio.sleep(HANDLER_SECONDS)
    note(t)


def block(t: float) -> None:
    """Run a job that blocks its thread."""
    time.sleep(HANDLER_SECONDS)
    note(t)


def use_threads(count: int) -> None:
    """Give the event loop as many threads as the worker runs jobs."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(count))


def place(numbers: range) -> tuple[int, int]:
    """Return the queue and the kind of a batch of equal size: they take turns."""
    turn = numbers.start // max(len(numbers), 1)
    return turn % QUEUES, turn // QUEUES % KINDS


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def ends() -> list[dict[str, float]]:
    """Return the pickup of the jobs of the first and of the last 30 s, in ms."""
    found = []
    first, last = min(enqueued), max(enqueued)
    for begin in (first, last - WINDOW):
        part = sorted(
            seconds * 1000
            for seconds, t in zip(latencies, enqueued, strict=True)
            if begin <= t <= begin + WINDOW
        )
        found.append({f"p{p}_ms": round(part[len(part) * p // 100], 2) for p in (50, 95, 99)})
    return found


def pickups() -> dict[str, object]:
    """Return the times from the enqueue to the handler: all of them, if they are few."""
    if not latencies:
        return {}
    part = sorted(latencies)
    found = {f"p{p}_ms": round(1000 * part[len(part) * p // 100], 2) for p in (50, 95, 99)}
    few = {"latencies": latencies.tolist()} if len(part) < 10_000 else {}
    return found | few | {"ends": ends()}


async def work(driver, concurrency: int) -> None:
    if "BENCH_HOLD" in os.environ:
        # Several workers begin together, when all have been loaded.
        say(loaded=True)
        sys.stdin.readline()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    started = 0.0

    def ready() -> None:
        nonlocal started
        started = cpu()
        say(ready=time.time())

    working = asyncio.create_task(driver.work(concurrency, ready))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        working.result()
        raise SystemExit("the worker ended by itself")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(
        cpu_seconds=round(cpu() - started, 3), handled=handled, last=last, rss_mib=round(peak, 1),
        **pickups(),
    )  # fmt: skip
    os._exit(0)  # the rest is not measured


async def produce(driver, role: str, count: float, batch: float) -> None:
    await driver.open(*([int(batch)] if role == "callers" else []))
    if role in ("single", "callers"):
        # Some connect at the first insert.
        await driver.insert(0, 0.0)
    elif role == "batches":
        await driver.insert_batch(range(1))
    begin, used = time.perf_counter(), cpu()
    done = 0
    if role == "single":
        for i in range(int(count)):
            await driver.insert(i, 0.0)
        done = int(count)
    elif role == "callers":
        insert = getattr(driver, "insert_beside", driver.insert)

        async def call(first: int) -> None:
            for i in range(first, int(count), CALLERS):
                await insert(i, 0.0)

        await asyncio.gather(*map(call, range(CALLERS)))
        done = int(count)
    elif role in ("bulk", "batches"):
        for start in range(0, int(count), int(batch)):
            await driver.insert_batch(range(start, min(start + int(batch), int(count))))
        done = int(count)
    elif role == "steady":
        while time.perf_counter() - begin < count:
            await driver.insert_batch(range(done, done + int(batch)))
            done += int(batch)
    elif role == "paced":
        due = time.time()
        for i in range(int(count)):
            due += batch
            await asyncio.sleep(max(0.0, due - time.time()))
            await driver.insert(i, time.time())
        done = int(count)
    elif role == "flow":
        due, size = time.time(), int(batch * FLOW_PAUSE)
        until = due + count
        while due < until:
            await asyncio.sleep(max(0.0, due - time.time()))
            await driver.insert_batch(range(done, done + size), time.time())
            done += size
            due += FLOW_PAUSE
    say(jobs=done, seconds=time.perf_counter() - begin, cpu_seconds=round(cpu() - used, 3))
    await driver.close()


def produce_sync(driver, count: int) -> None:
    """Insert one job per commit in a program without an event loop."""
    driver.open_sync()
    driver.insert_sync(0, 0.0)
    begin, used = time.perf_counter(), cpu()
    for i in range(count):
        driver.insert_sync(i, 0.0)
    say(jobs=count, seconds=time.perf_counter() - begin, cpu_seconds=round(cpu() - used, 3))
    sys.stdout.flush()
    os._exit(0)  # closing is not measured


async def play(driver, role: str, *arguments: str) -> None:
    if role == "setup":
        await driver.setup()
    elif role == "work":
        await work(driver, int(arguments[0]))
    else:
        await produce(driver, role, float(arguments[0]), float(arguments[1]))


def main(driver_class) -> None:
    logging.disable(logging.INFO)
    if sys.argv[1] == "single-sync":
        produce_sync(driver_class(), int(sys.argv[2]))
    import uvloop

    if os.environ.get("BENCH_PROFILE") and sys.argv[1] == "work":
        import cProfile

        profile = cProfile.Profile()
        profile.enable()
        leave = os._exit

        def report(code: int) -> None:
            import pstats

            profile.disable()
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(30)
            sys.stderr.flush()
            leave(code)

        os._exit = report
    uvloop.run(play(driver_class(), *sys.argv[1:]))
