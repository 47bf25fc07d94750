"""Jobs of every sort: the handlers that ``awa worker mixed:client`` runs, and their producer.

``python mixed.py fill N`` inserts N jobs; ``python mixed.py produce RATE`` keeps a rate until it is
told to stop, answers callbacks, and writes down when its probes were committed.  Rate 0 means as
many jobs as the workers take.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psycopg

import awa_lib as awa

QUEUE = "mixed"
# A producer inserts this often.
TICK_SECONDS = 0.1
PROBES_PER_SECOND = 20
# Of a thousand jobs; the rest is plain.
SHARES = {"flaky": 25, "holding": 20, "unique": 20, "progress": 4, "asking": 2}
PLAIN = 1000 - sum(SHARES.values())
ANSWER_SECONDS = 0.2
# At rate 0 a producer waits while more jobs than this are waiting.
FULL = 4_000

client = awa.AsyncClient(os.environ["DATABASE_URL"])
_notes = os.open(
    Path(os.environ["NOTES"]) / f"{os.getpid()}.notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND
)


def note(what: str, number: int) -> None:
    """Write down that something happened now, by the clock that all processes share."""
    os.write(_notes, f"{what} {number} {time.monotonic():.6f}\n".encode())


@client.task(dict, kind="plain", queue=QUEUE)
async def plain(job: awa.Job) -> None: ...


@client.task(dict, kind="probe", queue=QUEUE)
async def probe(job: awa.Job) -> None:
    note("started", job.args["n"])


@client.task(dict, kind="flaky", queue=QUEUE, backoff=awa.fixed(1))
async def flaky(job: awa.Job) -> None:
    if job.attempt == 1:
        raise ValueError("not the first time")


@client.task(dict, kind="holding", queue=QUEUE)
async def holding(job: awa.Job) -> None:
    await asyncio.sleep(0.02)


@client.task(dict, kind="unique", queue=QUEUE)
async def unique(job: awa.Job) -> None: ...


@client.task(dict, kind="progress", queue=QUEUE)
async def progress(job: awa.Job) -> None:
    job.set_progress(50, "half")
    job.update_metadata({"seen": job.args["n"]})
    await job.flush_progress()


@client.task(dict, kind="asking", queue=QUEUE)
async def asking(job: awa.Job) -> None:
    token = await job.register_callback(600)
    await job.wait_for_callback(token)


@client.task(dict, kind="tick", queue=QUEUE)
async def tick(job: awa.Job) -> None: ...


client.periodic("every second", "* * * * * *", dict, {}, kind="tick", queue=QUEUE)
client.periodic("every minute", "* * * * *", dict, {}, kind="tick", queue=QUEUE)


class Producer:
    """Inserts jobs in the shares above."""

    def __init__(self, client: awa.AsyncClient) -> None:
        self.client = client
        self.number = os.getpid() * 1_000_000_000
        self.owed = dict.fromkeys((*SHARES, "plain"), 0.0)
        self.inserted = 0

    def _due(self, count: int) -> dict[str, list[int]]:
        due = {}
        for kind in self.owed:
            self.owed[kind] += count * SHARES.get(kind, PLAIN) / 1000
            whole = int(self.owed[kind])
            self.owed[kind] -= whole
            due[kind] = list(range(self.number, self.number + whole))
            self.number += whole
        return due

    async def insert(self, count: int) -> None:
        due = self._due(count)
        plain, unique = due.pop("plain"), due.pop("unique")
        others = [awa.NewJob({"n": n}, kind=kind) for kind, ns in due.items() for n in ns]
        made = await asyncio.gather(
            self.client.insert_many([{"n": n} for n in plain], kind="plain", queue=QUEUE),
            self.client.insert_many(others, queue=QUEUE),
            # Every other key is taken by the job before it.
            self.client.insert_many(
                [{"key": n // 2} for n in unique],
                kind="unique", queue=QUEUE, unique_opts={}, on_conflict="skip",
            ),
        )  # fmt: skip
        self.inserted += sum(map(len, made))

    async def probe(self) -> None:
        self.number += 1
        number = self.number
        await self.client.insert({"n": number}, kind="probe", queue=QUEUE)
        note("inserted", number)
        self.inserted += 1


async def fill(count: int) -> None:
    async with awa.AsyncClient(os.environ["DATABASE_URL"], max_connections=3) as own:
        producer = Producer(own)
        while producer.inserted < count:
            await producer.insert(min(1000, count - producer.inserted + 1))


async def every(seconds: float, stop: asyncio.Event, call) -> None:
    """Call at a steady rate; a late call is made up for."""
    due = time.monotonic()
    while not stop.is_set():
        await call()
        due += seconds
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def is_full(conn: psycopg.AsyncConnection) -> bool:
    found = await conn.execute(
        "SELECT count(*) FROM (SELECT FROM awa.jobs_hot WHERE state = 'available' AND queue = %s"
        " LIMIT %s) AS waiting",
        [QUEUE, FULL],
    )
    return (await found.fetchone())[0] == FULL


async def produce(rate: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with awa.AsyncClient(os.environ["DATABASE_URL"], max_connections=8) as own:
        producer = Producer(own)
        owed = 0.0

        async def insert() -> None:
            nonlocal owed
            owed += rate * TICK_SECONDS
            whole, owed = int(owed), owed - int(owed)
            await producer.insert(whole)

        async def saturate() -> None:
            while not stop.is_set() and await is_full(conn):
                await asyncio.sleep(0.01)
            await producer.insert(1_000)

        async def tell() -> None:
            note("made", producer.inserted)

        conn = await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True)

        async def answer() -> None:
            found = await conn.execute(
                "SELECT callback_id::text FROM awa.jobs_hot WHERE callback_id IS NOT NULL"
                " AND state = 'waiting_external' AND id %% 2 = %s",
                [int(os.environ.get("HALF", "0"))],
            )
            for (callback,) in await found.fetchall():
                await own.resume_external(callback, {"ok": True})

        async with conn, asyncio.TaskGroup() as group:
            if rate:
                group.create_task(every(TICK_SECONDS, stop, insert))
            else:
                # Two, so that one inserts while the other waits for its commit.
                group.create_task(every(0.0, stop, saturate))
                group.create_task(every(0.0, stop, saturate))
            group.create_task(every(1 / PROBES_PER_SECOND, stop, producer.probe))
            group.create_task(every(ANSWER_SECONDS, stop, answer))
            group.create_task(every(1.0, stop, tell))


if __name__ == "__main__":
    role, number = sys.argv[1:]
    asyncio.run(fill(int(number)) if role == "fill" else produce(float(number)))
