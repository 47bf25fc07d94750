"""Procrastinate on its psycopg connector."""

from __future__ import annotations

import os
import sys

import procrastinate
import roles

SIZE = 20 if "work" in sys.argv or "callers" in sys.argv else 1
# A transaction pooler keeps no prepared statements.
OPTIONS = {"prepare_threshold": None} if "BENCH_POOLED" in os.environ else {}
NAMES = ["default", *(f"q{i}" for i in range(1, roles.QUEUES))]
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo=roles.URL, min_size=1, max_size=SIZE, kwargs=OPTIONS
    )
)


async def noop(n: int, t: float = 0.0) -> None:
    await roles.handle(t)


def blocking(n: int, t: float = 0.0) -> None:
    roles.block(t)


for name in ("noop", *(f"noop{i}" for i in range(1, roles.KINDS))):
    app.task(name=name)(blocking if roles.BLOCKS else noop)


class Driver:
    async def setup(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def open(self, connections: int = 1) -> None:
        await app.open_async()

    def open_sync(self) -> None:
        connector = procrastinate.SyncPsycopgConnector(conninfo=roles.URL, min_size=1, max_size=1)
        self.app = procrastinate.App(connector=connector)
        self.app.open()

    def insert_sync(self, i: int, t: float) -> None:
        self.app.configure_task("noop").defer(n=i, t=t)

    async def insert(self, i: int, t: float) -> None:
        await app.configure_task("noop").defer_async(n=i, t=t)

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        queue, kind = roles.place(numbers)
        task = app.configure_task(f"noop{kind or ''}", queue=NAMES[queue])
        await task.batch_defer_async(*[{"n": i, "t": t} for i in numbers])

    async def close(self) -> None:
        await app.close_async()

    async def work(self, concurrency: int, ready) -> None:
        roles.use_threads(concurrency)
        async with app.open_async():
            ready()
            await app.run_worker_async(concurrency=concurrency, install_signal_handlers=False)


roles.main(Driver)
