"""Procrastinate on its psycopg connector."""

from __future__ import annotations

import sys

import procrastinate
import roles

SIZE = 20 if "work" in sys.argv else 1
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=roles.URL, min_size=1, max_size=SIZE)
)


@app.task(name="noop")
async def noop(n: int, t: float = 0.0) -> None:
    roles.note(t)


class Driver:
    async def setup(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        await app.open_async()

    async def insert(self, i: int, t: float) -> None:
        await app.configure_task("noop").defer_async(n=i, t=t)

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        await app.configure_task("noop").batch_defer_async(*[{"n": i, "t": t} for i in numbers])

    async def close(self) -> None:
        await app.close_async()

    async def work(self, concurrency: int, ready) -> None:
        async with app.open_async():
            ready()
            await app.run_worker_async(concurrency=concurrency, install_signal_handlers=False)


roles.main(Driver)
