"""The wheel of awa 0.5 (canonical engine) and awa 0.6 (queue storage)."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, make_dataclass

import awa
import roles

QUEUE_STORAGE = "AWA_QUEUE_STORAGE" in os.environ


@dataclass
class Noop:
    n: int
    t: float = 0.0


TYPES = [Noop, *(
    make_dataclass(f"Noop{i}", [("n", int), ("t", float, 0.0)]) for i in range(1, roles.KINDS)
)]  # fmt: skip
NAMES = ["q", *(f"q{i}" for i in range(1, roles.QUEUES))]


class Driver:
    async def setup(self) -> None:
        client = awa.AsyncClient(roles.URL, max_connections=5)
        await client.migrate()
        if QUEUE_STORAGE:
            await client.install_queue_storage(schema="awa")
        await client.close()

    async def open(self, connections: int = 1) -> None:
        self.client = awa.AsyncClient(roles.URL, max_connections=connections)

    def open_sync(self) -> None:
        self.client = awa.Client(roles.URL, max_connections=1)

    def insert_sync(self, i: int, t: float) -> None:
        self.client.insert(Noop(i, t), queue="q")

    async def insert(self, i: int, t: float) -> None:
        await self.client.insert(Noop(i, t), queue="q")

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        insert = self.client.enqueue_many_copy if QUEUE_STORAGE else self.client.insert_many_copy
        queue, kind = roles.place(numbers)
        await insert([TYPES[kind](i, t) for i in numbers], queue=NAMES[queue])

    async def close(self) -> None:
        await self.client.close()

    async def work(self, concurrency: int, ready) -> None:
        # Each queue listens on a connection of its own.
        client = awa.AsyncClient(roles.URL, max_connections=19 + roles.QUEUES)

        async def noop(job) -> None:
            await roles.handle(job.args.t)

        async def blocking(job) -> None:
            await asyncio.to_thread(roles.block, job.args.t)

        roles.use_threads(concurrency)
        for one in TYPES:
            client.task(one, queue="q")(blocking if roles.BLOCKS else noop)
        ready()
        queues = [(name, concurrency) for name in NAMES]
        await client.start(queues, poll_interval_ms=int(os.environ["AWA_POLL_MS"]))
        await asyncio.Event().wait()


roles.main(Driver)
