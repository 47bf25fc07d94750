"""This project."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import roles

import awa_lib as awa


@dataclass
class Noop:
    n: int
    t: float = 0.0


class Driver:
    async def setup(self) -> None:
        await awa.migrate(roles.URL)

    async def open(self) -> None:
        self.client = awa.AsyncClient(roles.URL, max_connections=1)

    async def insert(self, i: int, t: float) -> None:
        await self.client.insert(Noop(i, t), queue="q")

    async def insert_batch(self, numbers: range) -> None:
        await self.client.insert_many_copy([Noop(i) for i in numbers], queue="q")

    async def close(self) -> None:
        await self.client.close()

    async def work(self, concurrency: int, ready) -> None:
        client = awa.AsyncClient(roles.URL)

        @client.task(Noop, queue="q")
        async def noop(job: awa.Job) -> None:
            roles.note(job.args.t)

        ready()
        await client.start([("q", concurrency)])
        await asyncio.Event().wait()


roles.main(Driver)
