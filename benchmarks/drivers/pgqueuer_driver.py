"""pgqueuer on an asyncpg pool; its batch size is its throughput knob."""

from __future__ import annotations

import json

import asyncpg
import roles
from pgqueuer import AsyncpgDriver, PgQueuer, Queries


class Driver:
    async def setup(self) -> None:
        conn = await asyncpg.connect(roles.URL)
        await Queries(AsyncpgDriver(conn)).install()
        await conn.close()

    async def open(self) -> None:
        self.conn = await asyncpg.connect(roles.URL)
        self.queries = Queries(AsyncpgDriver(self.conn))

    async def insert(self, i: int, t: float) -> None:
        await self.queries.enqueue("noop", json.dumps({"n": i, "t": t}).encode())

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        payloads = [json.dumps({"n": i, "t": t}).encode() for i in numbers]
        await self.queries.enqueue(["noop"] * len(payloads), payloads, [0] * len(payloads))

    async def close(self) -> None:
        await self.conn.close()

    async def work(self, concurrency: int, ready) -> None:
        pool = await asyncpg.create_pool(roles.URL, min_size=4, max_size=10)
        queuer = PgQueuer.from_asyncpg_pool(pool)

        @queuer.entrypoint("noop")
        async def noop(job) -> None:
            roles.note(json.loads(job.payload).get("t", 0))

        ready()
        await queuer.run(batch_size=concurrency)


roles.main(Driver)
