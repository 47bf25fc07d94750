"""The wheel of awa 0.5 (canonical engine) and awa 0.6 (queue storage)."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import awa
import roles

QUEUE_STORAGE = "AWA_QUEUE_STORAGE" in os.environ


@dataclass
class Noop:
    n: int
    t: float = 0.0


class Driver:
    async def setup(self) -> None:
        client = awa.AsyncClient(roles.URL, max_connections=5)
        await client.migrate()
        if QUEUE_STORAGE:
            await client.install_queue_storage(schema="awa")
        await client.close()

    async def open(self) -> None:
        self.client = awa.AsyncClient(roles.URL, max_connections=1)

    async def insert(self, i: int, t: float) -> None:
        await self.client.insert(Noop(i, t), queue="q")

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        insert = self.client.enqueue_many_copy if QUEUE_STORAGE else self.client.insert_many_copy
        await insert([Noop(i, t) for i in numbers], queue="q")

    async def close(self) -> None:
        await self.client.close()

    async def work(self, concurrency: int, ready) -> None:
        client = awa.AsyncClient(roles.URL, max_connections=20)

        @client.task(Noop, queue="q")
        async def noop(job) -> None:
            roles.note(job.args.t)

        ready()
        await client.start([("q", concurrency)], poll_interval_ms=int(os.environ["AWA_POLL_MS"]))
        await asyncio.Event().wait()


roles.main(Driver)
