"""Chancy with its async executor; its flush interval is lowered from 1 s."""

from __future__ import annotations

import logging

import roles
from chancy import Chancy, Queue, Worker
from chancy_tasks import noop

quiet = logging.getLogger("chancy")
quiet.setLevel(logging.ERROR)


def app(**options: object) -> Chancy:
    return Chancy(roles.URL, log=quiet, no_default_plugins=True, **options)


class Driver:
    async def setup(self) -> None:
        async with app() as chancy:
            await chancy.migrate()

    async def open(self) -> None:
        self.app = app(max_connection_pool_size=1)
        await self.app.__aenter__()

    async def insert(self, i: int, t: float) -> None:
        await self.app.push(noop.job.with_kwargs(n=i, t=t))

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        jobs = [noop.job.with_kwargs(n=i, t=t) for i in numbers]
        async for _ in self.app.push_many(jobs, batch_size=len(jobs)):
            pass

    async def close(self) -> None:
        await self.app.__aexit__(None, None, None)

    async def work(self, concurrency: int, ready) -> None:
        async with app() as chancy:
            queue = Queue(
                "default", executor=Chancy.Executor.Async, concurrency=concurrency,
                eager_polling=True, polling_interval=1,
            )  # fmt: skip
            await chancy.declare(queue, upsert=True)
            worker = Worker(chancy, register_signal_handlers=False)
            worker.send_outgoing_interval = 0.1
            ready()
            async with worker:
                await worker.wait_for_shutdown()


if __name__ == "__main__":
    roles.main(Driver)
