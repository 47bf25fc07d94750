"""pgqueuer on an asyncpg pool; its batch size is its throughput knob."""

from __future__ import annotations

import asyncio
import json
import os

import asyncpg
import roles
from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, PgQueuer, Queries

# An entrypoint is a queue and a kind in one.
NAMES = [f"noop{i or ''}" for i in range(roles.QUEUES * roles.KINDS)]
# A transaction pooler keeps no prepared statements.
OPTIONS = {"statement_cache_size": 0} if "BENCH_POOLED" in os.environ else {}


class Driver:
    async def setup(self) -> None:
        conn = await asyncpg.connect(roles.URL)
        await Queries(AsyncpgDriver(conn)).install()
        await conn.close()

    async def open(self, connections: int = 1) -> None:
        if connections > 1:
            self.conn = await asyncpg.create_pool(
                roles.URL, min_size=connections, max_size=connections
            )
            self.queries = Queries(AsyncpgPoolDriver(self.conn))
        else:
            self.conn = await asyncpg.connect(roles.URL)
            self.queries = Queries(AsyncpgDriver(self.conn))

    async def insert(self, i: int, t: float) -> None:
        await self.queries.enqueue("noop", json.dumps({"n": i, "t": t}).encode())

    def open_sync(self) -> None:
        import psycopg
        from pgqueuer.adapters.drivers.psycopg import SyncPsycopgDriver
        from pgqueuer.adapters.persistence.queries import SyncQueries

        self.queries = SyncQueries(SyncPsycopgDriver(psycopg.connect(roles.URL, autocommit=True)))

    def insert_sync(self, i: int, t: float) -> None:
        self.queries.enqueue("noop", json.dumps({"n": i, "t": t}).encode())

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        queue, kind = roles.place(numbers)
        name = NAMES[queue * roles.KINDS + kind]
        payloads = [json.dumps({"n": i, "t": t}).encode() for i in numbers]
        await self.queries.enqueue([name] * len(payloads), payloads, [0] * len(payloads))

    async def close(self) -> None:
        await self.conn.close()

    async def work(self, concurrency: int, ready) -> None:
        pool = await asyncpg.create_pool(roles.URL, min_size=4, max_size=10, **OPTIONS)
        queuer = PgQueuer.from_asyncpg_pool(pool)

        async def noop(job) -> None:
            await roles.handle(json.loads(job.payload).get("t", 0))

        async def blocking(job) -> None:
            await asyncio.to_thread(roles.block, json.loads(job.payload).get("t", 0))

        roles.use_threads(concurrency)
        for name in NAMES:
            queuer.entrypoint(name)(blocking if roles.BLOCKS else noop)
        ready()
        await queuer.run(batch_size=concurrency)


roles.main(Driver)
