"""Every line that ends in a mark is an error for a type checker, and no other line is."""

from __future__ import annotations

from dataclasses import dataclass

import awa_lib as awa
from awa_lib import bridge, testing

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
async def send(job: awa.Job) -> None: ...


@app.task(Mail)  # wrong: a result of awa or None
async def counts(job: awa.Job) -> int:
    return 1


@app.task(Mail)  # wrong: a result of awa or None
def counts_too(job: awa.Job) -> int:
    return 1


@dataclass
class Other:
    n: int


@app.task(Mail)  # wrong: the handler of another type
async def of_others(job: awa.Job[Other]) -> None: ...


@app.on_event(Mail)
async def typed_event(event: awa.Completed[Mail]) -> None:
    print(event.args.too)  # wrong: no such field


async def inserted() -> None:
    print((await app.insert(Mail("a"))).args.too)  # wrong: no such field
    print((await app.enqueue(Mail("a"))).args.too)  # wrong: no such field
    app.kind(Mail, quue="q")  # wrong: no such option
    await app.insert(Mail("a"), unique={"by_args": True})  # wrong: a Unique


@app.task(Mail, result_ttl=5)  # wrong: only with result
async def expires(job: awa.Job) -> None: ...


@app.task(Mail, result="Other")  # wrong: True or a type
async def named(job: awa.Job) -> None: ...


@app.task(Mail, result=True)  # wrong: the handler of another type
async def kept(job: awa.Job[Other]) -> int:
    return 1


async def waits(job: awa.Job) -> None:
    number: int = await app.result(job, into=Other)  # wrong: an Other
    await app.result("7")  # wrong: a job or its id
    await app.result(job, into=7)  # wrong: a type
    print(blocking.result(7, into=Other).m, number)  # wrong: no such field
    await app.task_results(7, "parts")  # wrong: async for
    for other in blocking.task_results(7, "parts", into=Other):
        print(other.n)  # wrong: None of a task without a result


@app.task(Mail, backoff="slow")  # wrong: a backoff or a function
async def slow(job: awa.Job) -> None: ...


@app.task(Mail, retry_on="OSError")  # wrong: exception classes
async def again(job: awa.Job) -> None: ...


@app.on_event(Mail, Mail)  # wrong: a class of events
async def heard(event: awa.Completed) -> None: ...


@app.middleware  # wrong: no call_next
async def around(job: awa.Job) -> None: ...


@app.middleware(Mail)  # wrong: a middleware takes the job first
async def of_text(job: str, call_next: object) -> None: ...


@app.insert_middleware  # wrong: a plain function
async def tagged(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
    return jobs


@app.on_event(Mail)  # wrong: what it takes is no event
async def number(event: int) -> None: ...


async def newest(job: awa.Job) -> None:
    held: awa.Job = await app.insert(Mail("a"), unique_opts={}, on_conflict="skip")  # wrong: None
    await app.insert(Mail("a"), unique_opts={}, on_conflict="ignore")  # wrong: no such mode
    await app.enqueue(Mail("a"), on_conflict="skip")  # wrong: batches raise
    awa.NewJob(Mail("a"), quue="q")  # wrong: no such option
    await app.enqueue_many_copy(7)  # wrong: an iterable
    await app.enqueue_many_copy([], on_progress=7)  # wrong: a function
    await job.register_callback(timeout="60")  # wrong: no such option
    await job.wait_for_callback("id")  # wrong: a token
    awa.WaitForCallback("id")  # wrong: a token
    await app.complete_external(7)  # wrong: ids are text
    await app.submit_bulk_operation("retry", stat="failed")  # wrong: no such filter
    await app.run_bulk_operation("id", on_progress="print")  # wrong: a function
    await app.list_dlq(quue="q")  # wrong: no such filter
    await app.trigger_cron_job(7)  # wrong: names are text
    app.periodic("daily", "@daily", Mail, Mail("a"), jitter="1 h")  # wrong: no such option
    app.http_worker("k", "https://x.invalid/", timeout=5)  # wrong: no such option
    app.queue_descriptor("q", ownr="me")  # wrong: no such field
    await app.start([("q", 1)], pol_interval_ms=5)  # wrong: no such option
    await app.start(poll_interval_ms="5")  # wrong: a number
    await bridge.insert_job(object(), Mail("a"), quue="q")  # wrong: no such option
    awa.fixed("5")  # wrong: a number
    print(held)


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
