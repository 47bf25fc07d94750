"""A worker process of the fleet: handlers that write down what they do.

``ODDITY`` in the environment says what is odd about it: see ``become``.
"""

from __future__ import annotations

import asyncio
import ctypes
import datetime as dt
import fcntl
import itertools
import json
import logging
import os
import random
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Its own folder too: ``awa worker`` loads it as a module.
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import poisons
from fix_worker import QUICK

import awa_lib as awa

FOLDER = Path(os.environ["LEDGER"])
ODDITY = os.environ.get("ODDITY", "")
NAME = os.environ["NAME"]
if ODDITY == "supervised":
    NAME += f"-{os.getpid()}"
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
FULL = 4_000_000


def out_of_reach(path: Path) -> int:
    """Open a file at a number that no poison closes."""
    low = os.open(path, APPEND)
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 500)
    os.close(low)
    return high


LEDGER = out_of_reach(FOLDER / f"{NAME}.ledger.0")
HEALTH = out_of_reach(FOLDER / f"{NAME}.health")

logging.basicConfig(
    level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
)


class Client(awa.AsyncClient):
    """A client that reports its health while it works."""

    async def start(self, *args: Any, **options: Any) -> None:
        await super().start(*args, **options)
        tasks.append(asyncio.get_running_loop().create_task(report()))


client = Client(os.environ["DATABASE_URL"])
tasks: list[asyncio.Task[None]] = []


# A busy machine may stop a process for a second.
STALE_MS, SWEEP_MS = 3_000, 500
SPEED = QUICK | {
    "heartbeat_interval_ms": 500,
    "heartbeat_staleness_ms": STALE_MS,
    "heartbeat_rescue_interval_ms": SWEEP_MS,
    "deadline_rescue_interval_ms": SWEEP_MS,
    "callback_rescue_interval_ms": SWEEP_MS,
}
numbers = itertools.count(1)


class Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def monotonic() -> float:
    """Ask the kernel: the clock of the C library may be faked."""
    moment = Moment()
    clock_gettime = 228  # of x86-64
    ctypes.CDLL(None).syscall(clock_gettime, time.CLOCK_MONOTONIC, ctypes.byref(moment))
    return moment.seconds + moment.nanoseconds / 1e9


if "LD_PRELOAD" not in os.environ:
    monotonic = time.monotonic


def write(to: int, **line: Any) -> None:
    os.write(to, json.dumps({"t": monotonic(), **line}).encode() + b"\n")


def start(job: awa.Job) -> None:
    write(LEDGER, what="start", id=job.id, lease=job.run_lease)


def end(job: awa.Job, promise: str) -> None:
    write(LEDGER, what="end", id=job.id, lease=job.run_lease, promise=promise)


def begin_a_ledger() -> None:
    """Write to a new file from now on: the judge removes the full ones."""
    new = os.open(FOLDER / f"{NAME}.ledger.{next(numbers)}", APPEND)
    os.dup2(new, LEDGER)  # handlers in threads keep their file descriptor
    os.close(new)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoText(Exception):
    def __str__(self) -> str:
        return 7  # noqa: PLE0307 - the point


class Base(BaseException):
    pass


ODD: list[Callable[[], BaseException]] = [
    Mute,
    NoText,
    Base,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
    StopAsyncIteration,
    lambda: ExceptionGroup("several", [ValueError("a"), Mute()]),
    lambda: BaseExceptionGroup("several", [KeyboardInterrupt(), Mute()]),
    lambda: ValueError("\x00\ud800 text no database takes"),
    asyncio.CancelledError,
    MemoryError,
    RecursionError,
    lambda: awa.TerminalError("for good"),
    lambda: ValueError("x" * 2_000_000),
]


def handler(kind: str, queue: str = "one", **options: Any) -> Callable[[Any], Any]:
    return client.task(dict, kind=kind, queue=queue, **options)


@handler("ok")
async def ok(job: awa.Job) -> None:
    start(job)
    if job.args["sleep"]:
        await asyncio.sleep(job.args["sleep"])
    end(job, "completed")


@handler("blocking", queue="two")
def blocking(job: awa.Job) -> None:
    start(job)
    # Under libfaketime time.sleep() fails now and then.
    select.select([], [], [], job.args["sleep"])
    end(job, "completed")


@handler("raising")
async def raising(job: awa.Job) -> None:
    start(job)
    end(job, "failed")
    make = ODD[job.args["n"] % len(ODD)]
    raise make()


@handler("flaky", backoff=awa.fixed(0.2))
async def flaky(job: awa.Job) -> None:
    start(job)
    if job.attempt <= job.args["fails"]:
        end(job, "failed")
        raise ValueError("not yet")
    end(job, "completed")


@handler("progress")
async def progress(job: awa.Job) -> None:
    start(job)
    for odd in (
        {"at": dt.datetime(2026, 1, 1)},
        {"x": float("nan")},
        {"s": "\x00"},
        {1: object()},
    ):
        try:
            job.update_metadata(odd)
        except (TypeError, ValueError, awa.AwaError):
            pass
    kept = {"deep": [1, {"n": job.args["n"]}]}
    job.update_metadata(kept)
    kept["deep"].append(object())
    job.set_progress(50, "half")
    if job.args["n"] % 3 == 0:
        await job.flush_progress()
    await asyncio.sleep(job.args["sleep"])
    end(job, "completed")


@handler("asking")
async def asking(job: awa.Job) -> None:
    start(job)
    for _ in range(2):
        token = await job.register_callback(3600)
        answer = await job.wait_for_callback(token)
        assert answer == {"job": job.id}, answer
    end(job, "completed")


@handler("snoozing")
async def snoozing(job: awa.Job) -> Any:
    start(job)
    checkpoint = (job.progress or {}).get("metadata") or {}
    if not checkpoint.get("snoozed"):
        job.update_metadata({"snoozed": True})
        end(job, "snoozed")
        return awa.Snooze(0.1)
    end(job, "completed")
    return None


@handler("long")
async def long(job: awa.Job) -> None:
    start(job)
    until = time.monotonic() + job.args["sleep"]
    while time.monotonic() < until:
        await asyncio.sleep(0.05)
        if job.is_cancelled():
            break
    end(job, "completed")


@handler("unique", queue="few")
@handler("child")
@handler("tick")
@handler("parent")
async def plain(job: awa.Job) -> None:
    start(job)
    end(job, "completed")


@client.follow_up("parent", awa.Completed)
def child(event: awa.Completed) -> awa.NewJob:
    return awa.NewJob({"parent": event.job.id}, kind="child", queue="two")


client.periodic(
    "every-second", "* * * * * *", dict, {}, kind="tick", queue="one",
    missed_fire_policy="catch_up", catch_up_limit=1000,
)  # fmt: skip


@handler("poison", queue="bad")
async def poison(job: awa.Job) -> None:
    start(job)
    how = job.args["how"]
    write(LEDGER, what="poison", id=job.id, lease=job.run_lease, how=how)
    if how in poisons.FAILING:
        end(job, "failed")
    await poisons.play(how)
    end(job, "completed")


@handler("poison in a thread")
def poison_in_a_thread(job: awa.Job) -> None:
    start(job)
    end(job, "failed")
    poisons.play_in_a_thread(job.args["how"])


if ODDITY == "new":

    @handler("novel")
    async def novel(job: awa.Job) -> None:
        start(job)
        end(job, "completed")


@handler("meeting")
async def meeting(job: awa.Job) -> None:
    """Prove that all of them run at once: each waits for the others."""
    start(job)
    place = FOLDER / job.args["room"]
    place.mkdir(exist_ok=True)
    (place / f"{job.id}").touch()
    until = time.monotonic() + 20
    while len(list(place.iterdir())) < job.args["guests"]:
        if time.monotonic() > until:
            raise awa.TerminalError(f"only {len(list(place.iterdir()))} came")
        await asyncio.sleep(0.3)
    end(job, "completed")


async def report() -> None:
    while True:
        health = await client.health_check()
        write(
            HEALTH,
            healthy=health.healthy,
            connected=health.postgres_connected,
            troubled=health.troubled,
            leader=health.leader,
            in_flight=sum(q.in_flight for q in health.queues.values()),
        )
        if os.fstat(LEDGER).st_size > FULL:
            begin_a_ledger()
        # Not more often: it counts the jobs that wait.
        await asyncio.sleep(0.5)


class Raising(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise ValueError("a log handler that raises")


def become() -> None:
    """Be odd in the way that the environment names."""
    if ODDITY == "raising logs":
        logging.getLogger().handlers = [Raising()]
    elif ODDITY == "closed streams":
        sys.stdout.close()
        sys.stderr.close()


if __name__ == "__main__":
    random.seed()
    become()
    awa.run(
        client,
        [
            ("one", 60),
            ("two", 60),
            ("few", 10),
            ("many", 400),
            {"name": "bad", "max_workers": 4, "deadline_seconds": 3},
        ],
        drain_timeout=5,
        partial=True,
        cancel_grace_ms=200,
        **SPEED,
    )
