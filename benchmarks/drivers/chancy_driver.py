"""Chancy with its async executor; its flush interval is lowered from 1 s."""

from __future__ import annotations

import logging

import roles
from chancy import Chancy, Queue, Worker
from chancy_tasks import TASKS, noop

quiet = logging.getLogger("chancy")
quiet.setLevel(logging.ERROR)
NAMES = ["default", *(f"q{i}" for i in range(1, roles.QUEUES))]
EXECUTOR = Chancy.Executor.Threaded if roles.BLOCKS else Chancy.Executor.Async


def app(**options: object) -> Chancy:
    return Chancy(roles.URL, log=quiet, no_default_plugins=True, **options)


class Driver:
    async def setup(self) -> None:
        async with app() as chancy:
            await chancy.migrate()

    async def open(self, connections: int = 1) -> None:
        self.app = app(max_connection_pool_size=connections)
        await self.app.__aenter__()

    def open_sync(self) -> None:
        self.app = app(max_connection_pool_size=1)
        self.app.__enter__()

    def insert_sync(self, i: int, t: float) -> None:
        self.app.sync_push(noop.job.with_kwargs(n=i, t=t))

    async def insert(self, i: int, t: float) -> None:
        await self.app.push(noop.job.with_kwargs(n=i, t=t))

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        queue, kind = roles.place(numbers)
        job = TASKS[kind].job.with_queue(NAMES[queue])
        jobs = [job.with_kwargs(n=i, t=t) for i in numbers]
        async for _ in self.app.push_many(jobs, batch_size=len(jobs)):
            pass

    async def close(self) -> None:
        await self.app.__aexit__(None, None, None)

    async def work(self, concurrency: int, ready) -> None:
        async with app() as chancy:
            for name in NAMES:
                queue = Queue(
                    name, executor=EXECUTOR, concurrency=concurrency, eager_polling=True,
                    polling_interval=1,
                )  # fmt: skip
                await chancy.declare(queue, upsert=True)
            worker = Worker(chancy, register_signal_handlers=False)
            worker.send_outgoing_interval = 0.1
            ready()
            async with worker:
                await worker.wait_for_shutdown()


if __name__ == "__main__":
    roles.main(Driver)
