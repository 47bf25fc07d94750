"""Every line that ends in a mark is an error for a type checker, and no other line is."""

from __future__ import annotations

from dataclasses import dataclass

import awa_lib as awa
from awa_lib import testing

app = awa.AsyncClient("postgresql:///x")
blocking = awa.Client("postgresql:///x")


@dataclass
class Mail:
    to: str


@app.task(Mail, que="mail")  # wrong: no such option
async def misspelt(job: awa.Job) -> None: ...


@app.task(Mail, queue=7)  # wrong: queue is text
async def misplaced(job: awa.Job) -> None: ...


@app.task(Mail)
async def typed(job: awa.Job[Mail]) -> None:
    print(job.args.too)  # wrong: no such field


@app.task(Mail)
async def send(job: awa.Job) -> int:
    return 1


async def through_async(job: awa.Job) -> None:
    text: str = await send(job)  # wrong: handlers keep their type
    await send("job")  # wrong: and their parameters
    await app.insert(Mail("a"), priority="high")  # wrong: a number
    await app.insert(Mail("a"), quue="q")  # wrong: no such option
    await app.insert(Mail("a"), "kind")  # wrong: by keyword only
    await app.insert(Mail("a"), tags=7)  # wrong: a sequence
    await app.insert(Mail("a"), run_at=3.5)  # wrong: a moment
    await app.insert()  # wrong: args are needed
    await app.get_job("7")  # wrong: ids are numbers
    await app.list_jobs(limit="5")  # wrong: a number
    job.set_progress("half")  # wrong: percent is a number
    app.nothing()  # wrong: no such verb
    await app.set_queue_policy("q", max_runing=1)  # wrong: no such setting
    await app.set_queue_policy("q", max_running="1")  # wrong: a number
    await app.insert(Mail("a"), concurrency_key=7)  # wrong: text
    await app.retry_from_dlq("7")  # wrong: ids are numbers
    await app.preview_bulk_operation("retry", sate="failed")  # wrong: no such filter
    with app.transaction() as tx:  # wrong: async with
        print(tx, text)
    await testing.drain(app, limit="many")  # wrong: a number
    await testing.travel(app, to="tomorrow")  # wrong: a datetime
    await testing.work_one("app")  # wrong: a client


async def through_sync() -> None:
    await blocking.insert(Mail("a"))  # wrong: a job, not a coroutine
    blocking.insert(Mail("a"), max_attempts="5")  # wrong: a number
    blocking.task(Mail)  # wrong: workers are async
    testing.assert_enqueued(blocking, Mail, count="1")  # wrong: a number
    number: int = blocking.insert(Mail("a"))  # wrong: a job
    print(number)
