"""Metrics, traces and log fields of a real worker, in a process of its own.

OpenTelemetry's providers are set once a process, so each scenario is a program.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.logs import JobFilter, JsonFormatter, current_job

SET_UP = """
    import asyncio, json, os
    from dataclasses import dataclass
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    import awa_lib as awa

    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    metrics.set_meter_provider(MeterProvider([reader]))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)

    @dataclass
    class Work:
        how: str

    @dataclass
    class Plain:
        n: int = 0

    QUICK = dict(
        heartbeat_interval_ms=100, promote_interval_ms=50, leader_election_interval_ms=100,
        heartbeat_rescue_interval_ms=100, heartbeat_staleness_ms=2_000,
    )

    def points():
        found = {}
        for resource in reader.get_metrics_data().resource_metrics:
            for scope in resource.scope_metrics:
                assert scope.scope.name == "awa"
                for metric in scope.metrics:
                    found[metric.name] = [metric.unit, [
                        [dict(p.attributes), getattr(p, "value", None), getattr(p, "count", None)]
                        for p in metric.data.data_points
                    ]]
        return found

    async def until(client, states):
        while True:
            jobs = await client.list_jobs(queue="q", limit=1000)
            if sorted(str(job.state) for job in jobs) == sorted(states):
                return
            await asyncio.sleep(0.02)
"""


def play(body: str, url: str) -> Any:
    """Run a program and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(SET_UP) + dedent(body)],
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_metrics_under_their_published_names(database_url: str, rows: Rows) -> None:
    rows.all(
        "INSERT INTO awa.jobs (kind, args, state, attempt, max_attempts, heartbeat_at) "
        "VALUES ('gone', '{}', 'running', 1, 1, now() - interval '1 day') RETURNING id"
    )
    found = play(
        """
        async def main():
            async with awa.AsyncClient(os.environ["DATABASE_URL"]) as client:
                @client.task(Work, queue="q", backoff=awa.fixed(3600))
                async def work(job):
                    if job.args.how == "wait":
                        return awa.WaitForCallback(await job.register_callback(60))
                    if job.args.how == "slow":
                        await asyncio.sleep(0.3)
                    if job.args.how == "cancel":
                        return awa.Cancel("no")
                    if job.args.how == "terminal":
                        raise awa.TerminalError("never")
                    if job.args.how == "fail":
                        raise ValueError("again")
                client.queue_descriptor("q", display_name="Quick", tags=["a", "b"])
                hows = ["ok", "ok", "slow", "cancel", "terminal", "fail", "wait"]
                await client.insert_many([Work(how) for how in hows], queue="q")
                await client.insert(Work("fail"), queue="q", max_attempts=1)
                await client.insert_many_copy([{}] * 1500, kind="elsewhere", queue="other")
                await client.insert({}, kind="u", queue="other", unique_opts={}, on_conflict="skip")
                async with client.workflow("open") as flow:
                    flow.add({}, kind="waits", queue="other", signal="never")
                await client.start([("q", 9)], **QUICK)
                await until(client, ["completed"] * 3 + ["cancelled"] + ["failed"] * 2
                            + ["retryable", "waiting_external"])
                last = {"awa.workflow.tasks", "awa.maintenance.rescues"}
                while not last <= set(points()):
                    await asyncio.sleep(0.02)
            print(json.dumps(points()))
        asyncio.run(main())
        """,
        database_url,
    )

    def value(name: str, **labels: object) -> Any:
        wanted = {f"awa.{key.replace('_', '.', 1)}": value for key, value in labels.items()}
        unit, data = found[name]
        (point,) = [p for p in data if wanted.items() <= p[0].items()]
        return unit, point[1] if point[2] is None else point[2]

    one = {"job_kind": "work", "job_queue": "q"}
    assert value("awa.job.inserted", **one) == ("{job}", 8)
    assert value("awa.job.inserted", job_kind="elsewhere", job_queue="other") == ("{job}", 1500)
    assert value("awa.job.inserted", job_kind="u") == ("{job}", 1)
    assert value("awa.job.claimed", job_queue="q") == ("{job}", 8)
    assert value("awa.job.completed", **one) == ("{job}", 3)
    assert value("awa.job.retried", **one) == ("{job}", 1)
    assert value("awa.job.failed", **one, job_terminal=True) == ("{job}", 1)
    assert value("awa.job.failed", **one, job_terminal=False) == ("{job}", 1)
    assert value("awa.job.cancelled", **one) == ("{job}", 1)
    assert value("awa.job.waiting_external", **one) == ("{job}", 1)
    assert value("awa.job.in_flight", job_queue="q") == ("{job}", 0)
    assert value("awa.job.duration", **one) == ("s", 3)
    assert value("awa.job.wait_duration", job_queue="q") == ("s", 8)
    assert value("awa.dispatch.claim_batches", job_queue="q")[1] >= 1
    assert value("awa.dispatch.claim_batch_size", job_queue="q")[0] == "{job}"
    assert value("awa.dispatch.claim_duration", job_queue="q")[0] == "s"
    assert value("awa.completion.flushes", completion_shard=0)[1] >= 1
    assert value("awa.completion.flush_batch_size", completion_shard=0)[1] >= 1
    assert value("awa.completion.flush_duration", completion_shard=0)[0] == "s"
    assert value("awa.maintenance.rescues", rescue_kind="heartbeat") == ("{job}", 1)
    assert value("awa.heartbeat.batches")[1] >= 1
    assert value("awa.queue.depth", job_queue="other", job_state="available") == ("{job}", 1501)
    assert value("awa.queue.lag", job_queue="other")[0] == "s"
    assert value("awa.queue.info", job_queue="q", queue_display_name="Quick") == ("{queue}", 1)
    assert value("awa.queue.info", job_queue="q", queue_tags="a,b") == ("{queue}", 1)
    assert value("awa.job_kind.info", job_kind="work") == ("{kind}", 1)
    assert value("awa.workflow.open") == ("{workflow}", 1)
    assert value("awa.workflow.tasks", workflow_task_state="waiting") == ("{task}", 1)
    assert value("awa.workflow.tasks", workflow_task_state="failed") == ("{task}", 0)


def test_promotions_are_measured_and_many_durations_sampled(database_url: str) -> None:
    found = play(
        """
        from datetime import UTC, datetime, timedelta

        async def main():
            async with awa.AsyncClient(os.environ["DATABASE_URL"]) as client:
                @client.task(Plain, queue="q")
                async def plain(job): ...
                soon = datetime.now(UTC) + timedelta(seconds=2)
                await client.insert_many([Plain(n) for n in range(3000)], queue="q", run_at=soon)
                await client.start([("q", 400)], **QUICK)
                for state in ("scheduled", "available", "running"):
                    while await client.list_jobs(queue="q", state=state, limit=1):
                        await asyncio.sleep(0.02)
            print(json.dumps(points()))
        asyncio.run(main())
        """,
        database_url,
    )
    state = {"awa.job.state": "scheduled"}

    assert found["awa.maintenance.promote_batches"][1][0][0] == state
    assert found["awa.maintenance.promote_batch_size"][1][0][0] == state
    assert found["awa.job.completed"][1][0][1] == 3000
    assert 100 <= found["awa.job.duration"][1][0][2] < 3000
    assert 100 <= found["awa.job.wait_duration"][1][0][2] < 3000


def test_traces_lead_from_enqueue_to_execute(database_url: str, rows: Rows) -> None:
    found = play(
        """
        async def main():
            async with awa.AsyncClient(os.environ["DATABASE_URL"]) as client:
                seen = {}

                @client.task(Work, queue="q")
                async def work(job):
                    seen["async"] = trace.get_current_span().get_span_context().span_id
                    await client.insert(Plain(1), queue="q")
                    if job.args.how == "fail":
                        raise ValueError("no luck")

                @client.task(Plain, queue="q")
                def plain(job):
                    seen["thread"] = trace.get_current_span().get_span_context().span_id

                tracer = trace.get_tracer("test")
                with tracer.start_as_current_span("request"):
                    await client.insert(Work("ok"), queue="q", metadata={"mine": 1})
                    await client.insert_many([Work("fail")], queue="q", max_attempts=1)
                await client.insert(Plain(2), queue="q")
                await client.start([("q", 1)], **QUICK)
                await until(client, ["completed"] * 4 + ["failed"])
            await asyncio.sleep(0)
            print(json.dumps([seen, [
                [s.name, s.context.trace_id, s.context.span_id, s.parent and s.parent.span_id,
                 s.kind.name, dict(s.attributes), s.status.status_code.name, s.status.description,
                 [[e.name, dict(e.attributes)] for e in s.events]]
                for s in spans.get_finished_spans()
            ]]))
        asyncio.run(main())
        """,
        database_url,
    )
    seen, spans = found
    request = next(s for s in spans if s[0] == "request")
    worked = [s for s in spans if s[0] == "job.execute work"]
    plain = [s for s in spans if s[0] == "job.execute plain"]
    ok, failed = sorted(worked, key=lambda s: s[5]["job.id"])

    assert [s[3] for s in worked] == [request[2]] * 2
    assert {s[1] for s in worked} == {request[1]}
    assert ok[4:8] == [
        "CONSUMER",
        {"job.id": ok[5]["job.id"], "job.kind": "work", "job.queue": "q", "job.attempt": 1},
        "OK",
        None,
    ]
    assert (failed[6], failed[7]) == ("ERROR", "ValueError: no luck")
    ((name, event),) = failed[8]
    assert (name, event["exception.type"]) == ("exception", "builtins.ValueError")
    assert event["exception.message"] == "ValueError: no luck"
    # From Python 3.13 on the line itself follows.
    assert ", in work" in event["exception.stacktrace"]
    # What a handler enqueues goes on with its trace; the job of no request starts one.
    assert sorted(s[3] is None for s in plain) == [False, False, True]
    assert {s[3] for s in plain if s[3]} == {ok[2], failed[2]}
    assert seen["async"] in {ok[2], failed[2]}
    assert seen["thread"] in {s[2] for s in plain}
    kept = rows.one("SELECT metadata AS m FROM awa.jobs WHERE metadata ? 'mine'")["m"]
    assert set(kept) == {"mine", "_awa_traceparent"}
    assert kept["_awa_traceparent"].startswith(f"00-{request[1]:032x}-{request[2]:016x}-")


def test_a_busy_worker_makes_a_span_for_a_batch_and_for_each_failure(database_url: str) -> None:
    found = play(
        """
        async def main():
            async with awa.AsyncClient(os.environ["DATABASE_URL"]) as client:
                @client.task(Work, queue="q")
                async def work(job):
                    if job.args.how == "fail":
                        raise ValueError("no luck")
                    await client.insert(Plain(1), queue="q")

                @client.task(Plain, queue="q")
                def plain(job):
                    pass

                with trace.get_tracer("test").start_as_current_span("request"):
                    await client.insert_many(
                        [Work("ok")] * 40 + [Work("fail")], queue="q", max_attempts=1
                    )
                await client.start([("q", 50)], spans_per_second=1, **QUICK)
                await until(client, ["completed"] * 80 + ["failed"])
                kept = [job.metadata["_awa_traceparent"] for job in
                        await client.list_jobs(kind="plain", limit=100)]
            print(json.dumps([kept, [
                [s.name, s.context.trace_id, s.parent and s.parent.span_id, dict(s.attributes),
                 s.status.status_code.name, s.end_time - s.start_time, s.context.span_id]
                for s in spans.get_finished_spans()
            ]]))
        asyncio.run(main())
        """,
        database_url,
    )
    kept, spans = found
    request = next(s for s in spans if s[0] == "request")
    own = [s for s in spans if s[0].startswith("job.execute ")]
    batches = [s for s in spans if s[0].startswith("job.batch ")]
    (failed,) = [s for s in own if s[4] == "ERROR"]

    assert (failed[1], failed[2]) == (request[1], request[6])
    # An attempt has a span of its own or is in a batch's, never in both.
    assert len(own) + sum(s[3]["job.count"] for s in batches) == 81
    assert len(own) < 20
    assert {s[3]["job.kind"] for s in batches} == {"work", "plain"}
    assert all(s[2] is None and s[5] > 0 and s[3]["job.queue"] == "q" for s in batches)
    # The trace of the request goes on also through attempts without a span.
    assert {text.split("-")[1] for text in kept} == {f"{request[1]:032x}"}


def test_schedules_do_not_keep_the_span_they_were_declared_in(database_url, rows: Rows) -> None:
    play(
        """
        async def main():
            async with awa.AsyncClient(os.environ["DATABASE_URL"]) as client:
                @client.task(Plain, queue="q")
                async def plain(job): ...
                with trace.get_tracer("test").start_as_current_span("import"):
                    client.periodic("hourly", "0 * * * *", Plain, Plain(), queue="q")
                    await client.start([("q", 1)], **QUICK)
            print("{}")
        asyncio.run(main())
        """,
        database_url,
    )

    assert rows.one("SELECT metadata AS m FROM awa.cron_jobs") == {"m": {}}


def test_nothing_is_loaded_by_itself(database_url: str) -> None:
    program = """
        import asyncio, os, sys
        import awa_lib as awa

        async def main():
            async with awa.AsyncClient(os.environ["DATABASE_URL"]) as client:
                done = asyncio.Event()

                @client.task(dict, kind="k")
                async def handler(job):
                    done.set()

                await client.start([("default", 1)])
                await client.insert({}, kind="k")
                await done.wait()
            print([name for name in sys.modules if name.startswith("opentelemetry")])

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


# -- logs


@pytest.fixture
def log():
    """A logger with JSON lines, and with plain lines that show the job's id."""
    made = logging.getLogger("test.jobs")
    streams = io.StringIO(), io.StringIO()
    handlers = [logging.StreamHandler(stream) for stream in streams]
    handlers[0].setFormatter(JsonFormatter())
    handlers[1].setFormatter(logging.Formatter("%(job_kind)s %(job_attempt)s %(message)s"))
    handlers[1].addFilter(JobFilter())
    for handler in handlers:
        made.addHandler(handler)
    made.setLevel("INFO")
    yield made, *streams
    for handler in handlers:
        made.removeHandler(handler)


@pytest.mark.parametrize("blocking", [False, True])
async def test_lines_of_a_handler_say_which_job(aclient, rows: Rows, log, blocking: bool) -> None:
    made, lines, plain = log
    seen: list[awa.Job | None] = []

    def say(job: awa.Job) -> None:
        seen.append(current_job())
        made.info("working", extra={"part": 1, "odd": object})

    if blocking:
        aclient.task(Noop)(say)
    else:

        @aclient.task(Noop)
        async def handler(job: awa.Job) -> None:
            await asyncio.gather(asyncio.to_thread(say, job))

    async with working(aclient):
        job = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")
    made.info("outside")
    first, second = [json.loads(line) for line in lines.getvalue().splitlines()]

    assert first["message"] == "working"
    assert {key: first[key] for key in ("job_id", "job_kind", "job_queue", "job_attempt")} == {
        "job_id": job.id,
        "job_kind": "noop",
        "job_queue": "default",
        "job_attempt": 1,
    }
    assert (first["level"], first["logger"], first["part"]) == ("INFO", "test.jobs", 1)
    assert first["odd"] == "<class 'object'>"
    assert "job_id" not in second
    assert plain.getvalue().splitlines() == ["noop 1 working", "None None outside"]
    assert [one.id for one in seen if one] == [job.id]
    assert current_job() is None


def test_errors_and_times_in_json(log) -> None:
    made, lines, _ = log
    try:
        raise ValueError("no")
    except ValueError:
        made.exception("failed %s", "here")
    line = json.loads(lines.getvalue())

    assert line["message"] == "failed here"
    assert line["exception"].endswith("ValueError: no")
    assert line["time"].endswith("+00:00")
