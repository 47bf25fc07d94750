"""What a worker logs of attempts that fail, and of itself."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fix_wait import aeventually, eventually
from fix_worker import Rows, working

import awa_lib as awa
from awa_lib.logs import JobFilter, JsonFormatter, PlainFormatter
from awa_lib.runtime import failures as failures_module
from awa_lib.runtime.context import Outcome
from awa_lib.runtime.failures import Failures

FAILURES = "awa_lib.runtime.failures"
MARK = "5ecret-0f-a-job"


@dataclass
class Sent:
    to: int


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == FAILURES]


async def test_a_failed_attempt_is_a_warning_and_the_last_one_an_error(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    @aclient.task(dict, kind="send_email", queue="mail", backoff=awa.fixed(0.3))
    async def send(job: awa.Job) -> None:
        raise ConnectionError(f"attempt {job.attempt} was refused")

    @aclient.task(dict, kind="good", queue="mail")
    async def good(job: awa.Job) -> None: ...

    async with working(aclient, ("mail", 5)):
        job = await aclient.insert({}, kind="send_email", queue="mail", max_attempts=2)
        fine = await aclient.insert({}, kind="good", queue="mail")
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")
        await aeventually(lambda: rows.job(fine.id)["state"] == "completed")

    first, last = told(caplog)
    assert (first.levelname, last.levelname) == ("WARNING", "ERROR")
    assert first.getMessage() == (
        f"job {job.id} (kind send_email, queue mail) failed in attempt 1 of 2; "
        "it runs again in about 0.3 s: ConnectionError: attempt 1 was refused"
    )
    assert last.getMessage() == (
        f"job {job.id} (kind send_email, queue mail) failed for good in attempt 2 of 2: "
        "ConnectionError: attempt 2 was refused"
    )
    trace = logging.Formatter().formatException(first.exc_info)
    assert "in send\n" in trace
    assert "awa_lib/runtime" not in trace
    assert (last.job_id, last.job_kind, last.attempt) == (job.id, "send_email", "2 of 2")


async def test_each_end_without_another_try_is_an_error(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    @aclient.task(dict, kind="terminal")
    def terminal(job: awa.Job) -> None:
        raise awa.TerminalError("never")

    @aclient.task(dict, kind="late")
    async def late(job: awa.Job) -> None:
        await asyncio.Event().wait()

    @aclient.task(Sent, kind="unreadable")
    async def unreadable(job: awa.Job) -> None: ...

    @aclient.task(dict, kind="discarded", discard_on=ValueError)
    async def discarded(job: awa.Job) -> None:
        raise ValueError("as expected")

    @aclient.task(dict, kind="asked")
    async def asked(job: awa.Job) -> awa.RetryAfter:
        return awa.RetryAfter(600)

    queue = {"name": "default", "max_workers": 5, "deadline_seconds": 0.2}
    async with working(aclient, queue, cancel_grace_ms=100):
        for kind in ("terminal", "late", "unreadable", "discarded", "asked"):
            await aclient.insert({"to": "x"}, kind=kind, max_attempts=1 + (kind == "asked"))
        await aeventually(lambda: rows.states() == {"failed": 3, "cancelled": 1, "retryable": 1})

    said = {record.job_kind: record for record in told(caplog)}
    assert {(kind, record.levelname) for kind, record in said.items()} == {
        ("terminal", "ERROR"),
        ("late", "ERROR"),
        ("unreadable", "ERROR"),
    }
    assert "TerminalError: never" in said["terminal"].getMessage()
    assert "hard deadline exceeded" in said["late"].getMessage()
    # Where the handler was when it was stopped.
    assert "in late\n" in logging.Formatter().formatException(said["late"].exc_info)


async def test_a_rescue_that_counts_is_told_by_the_leader(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    @aclient.task(dict, kind="waits", backoff=awa.fixed(600))
    async def waits(job: awa.Job) -> None:
        await job.wait_for_callback(await job.register_callback(timeout_seconds=0.2))

    async with working(aclient):
        last = await aclient.insert({}, kind="waits", max_attempts=1)
        other = await aclient.insert({}, kind="waits", max_attempts=2)
        await aeventually(lambda: rows.job(last.id)["state"] == "failed")
        await aeventually(lambda: rows.job(other.id)["state"] == "retryable")
        await aeventually(lambda: len(told(caplog)) == 2)

    said = {record.job_id: (record.levelname, record.getMessage()) for record in told(caplog)}
    head = "(kind waits, queue default) was taken from its worker and"
    assert said == {
        last.id: (
            "ERROR",
            f"job {last.id} {head} failed for good; awa job show {last.id} has the reason",
        ),
        other.id: (
            "WARNING",
            f"job {other.id} {head} is retried; awa job show {other.id} has the reason",
        ),
    }


@dataclass
class Quoting:
    a: str

    def __post_init__(self) -> None:
        raise ValueError(f"not an address: {self.a}")


async def test_args_that_cannot_be_read_are_not_quoted(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    @aclient.task(Quoting, kind="quoting")
    async def quoting(job: awa.Job) -> None: ...

    async with working(aclient):
        job = await aclient.insert({"a": MARK}, kind="quoting")
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    (record,) = told(caplog)
    assert "its args cannot be read (" in record.getMessage()
    for one in caplog.records:
        assert MARK not in PlainFormatter().format(one) + JsonFormatter().format(one)
        assert MARK not in str(vars(one))


async def test_a_kind_that_nobody_handles_is_told(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    @aclient.task(dict, kind="gone")
    async def gone(job: awa.Job) -> None: ...

    async with working(aclient):
        # Claims name the kinds that were there at the start.
        del aclient._handlers["gone"]
        job = await aclient.insert({}, kind="gone")
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    (record,) = told(caplog)
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        f"job {job.id} (kind gone, queue default) failed for good in attempt 1 of 25: "
        "no handler is registered for its kind"
    )


async def test_a_storm_is_told_in_a_few_lines(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    @aclient.task(dict, kind="stormy")
    async def stormy(job: awa.Job) -> None:
        raise RuntimeError("no")

    began = asyncio.get_running_loop().time()
    async with working(aclient, ("default", 50)):
        await aclient.insert_many([{} for _ in range(400)], kind="stormy", max_attempts=1)
        await aeventually(lambda: rows.states() == {"failed": 400}, timeout=60)
    seconds = asyncio.get_running_loop().time() - began

    lines = [record.getMessage() for record in told(caplog)]
    single = [line for line in lines if line.startswith("job ")]
    summaries = [
        re.fullmatch(
            r"… ([\d,]+) more failed attempts of kind stormy in the last \d+ s; \1 of them failed "
            "for good",
            line,
        )
        for line in lines
        if not line.startswith("job ")
    ]
    # A span touches one second of the clock more than it lasts, and a part of another.
    assert 0 < len(single) <= 5 * (seconds + 2)
    assert len(single) + sum(int(found[1].replace(",", "")) for found in summaries) == 400


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def attempt(kind: str, number: int = 1) -> object:
    class Job:
        id, queue, attempt = 7, "q", number

    class Attempt:
        job, max_attempts = Job(), 3

    Attempt.job.kind = kind
    return Attempt()


def outcome(target: str = "retryable", **fields: object) -> Outcome:
    return Outcome(target, "RuntimeError: no", **fields)


async def test_at_most_five_a_second_of_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    failures = Failures(clock)
    for _ in range(1_210):
        failures.report(attempt("a"), outcome())
    failures.report(attempt("b"), outcome())
    clock.now += 1
    failures.report(attempt("a"), outcome("failed"))
    clock.now += 9
    failures.summarize()
    failures.close()

    lines = [record.getMessage() for record in told(caplog)]
    assert sum("kind a," in line for line in lines) == 6
    assert sum("kind b," in line for line in lines) == 1
    assert lines[-1] == "… 1,205 more failed attempts of kind a in the last 10 s"
    assert len(lines) == 8


async def test_kinds_take_bounded_memory_and_are_forgotten(caplog) -> None:
    clock = Clock()
    failures = Failures(clock)
    for number in range(3_000):
        failures.report(attempt(f"kind{number}"), outcome())
    assert len(failures._kinds) <= 1_001
    assert [r for r in told(caplog) if r.job_kind == "kind999"]
    clock.now += 10
    failures.summarize()

    assert "more failed attempts of other kinds in the last 10 s" in told(caplog)[-1].getMessage()
    assert not failures._kinds
    assert failures._timer is None


async def test_the_summary_comes_by_itself_and_belongs_to_no_job(
    aclient: awa.AsyncClient, rows: Rows, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(failures_module, "_SUMMARY_SECONDS", 0.2)
    caplog.handler.addFilter(job_filter := JobFilter())

    @aclient.task(dict, kind="stormy")
    async def stormy(job: awa.Job) -> None:
        raise RuntimeError("no")

    try:
        async with working(aclient, ("default", 50)):
            await aclient.insert_many([{} for _ in range(30)], kind="stormy", max_attempts=1)
            await aeventually(lambda: any(hasattr(r, "left_out") for r in told(caplog)))
    finally:
        caplog.handler.removeFilter(job_filter)
    summary = next(r for r in told(caplog) if hasattr(r, "left_out"))
    assert summary.job_id is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.04 s"), (2.25, "2.2 s"), (72.4, "72 s"), (600, "10 min"), (9000, "2.5 h"),
     (200_000, "2.31 d")],
)  # fmt: skip
async def test_the_next_try(caplog, seconds: float, words: str) -> None:
    failures = Failures()
    failures.report(attempt("a"), outcome(delay=seconds))
    failures.close()

    assert f"it runs again in about {words}: " in told(caplog)[0].getMessage()


@pytest.mark.parametrize(
    "text",
    ["half \udc80 a character", "long " + "x" * 3_000_000],
    ids=["half a character", "long"],
)
async def test_a_traceback_that_no_file_should_hold(caplog, text: str) -> None:
    failures = Failures()
    try:
        raise ValueError(text)
    except ValueError as error:
        failures.report(attempt("a"), outcome(cause=error))
    failures.close()

    (record,) = told(caplog)
    for formatter in (PlainFormatter(), JsonFormatter()):
        line = formatter.format(record)
        line.encode()
        assert len(line) < 100_000
        assert "Traceback (most recent call last):" in line
        assert f"ValueError: {text[:4]}" in line


async def test_names_of_the_database_stay_on_their_line(caplog) -> None:
    failures = Failures()
    failures.report(attempt("a\nERROR forged"), outcome())
    failures.close()

    assert "kind a\\nERROR forged," in told(caplog)[0].getMessage()


PROGRAM = """
import logging, os, sys
import awa_lib as awa

{setup}
client = awa.AsyncClient(os.environ["DATABASE_URL"])
client.queue("mail", concurrency=7, rate_limit=(50, 60), deadline_seconds=9)

@client.task(dict, kind="send_email", queue="mail")
async def send(job):
    raise ConnectionError("refused")

@client.task(dict, kind="report")
async def report(job): ...

awa.run(client, drain_timeout=5)
"""


def run_program(url: str, tmp_path: Path, setup: str, until: Callable[[str], bool]) -> str:
    """Run the program until its log is as wanted, stop it by a signal, and return the log."""
    (tmp_path / "program.py").write_text(PROGRAM.format(setup=setup))
    path = tmp_path / "log"
    with path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "program.py")], stdout=log, stderr=log,
            env={**os.environ, "DATABASE_URL": url},
        )  # fmt: skip
    try:
        eventually(lambda: until(path.read_text()), timeout=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
    return path.read_text()


def test_a_program_that_configures_nothing_gets_readable_lines(
    database_url: str, tmp_path: Path
) -> None:
    with awa.Client(database_url) as client:
        client.insert({}, kind="send_email", queue="mail")
    secret = database_url + ("&" if "?" in database_url else "?") + "password=hunter2"
    text = run_program(
        secret, tmp_path, "",
        lambda log: "failed in attempt" in log and "this process leads" in log,
    )  # fmt: skip

    name = re.search(r"worker started on (\S+)", text)[1]
    assert re.match(r"\d{4}-\d\d-\d\d .* INFO    awa_lib\.runtime\.announcements: worker ", text)
    assert name.endswith("/" + awa_database(database_url))
    mail = "queue mail: 7 slots; at most 50 jobs/s; deadline 9 s; kinds: send_email"
    assert mail in text
    assert "queue default: 10 slots; deadline 300 s; kinds: report" in text
    assert "WARNING awa_lib.runtime.failures: job 1 (kind send_email, queue mail) failed" in text
    assert "ConnectionError: refused\nTraceback (most recent call last):\n" in text.replace(
        "  retry_in_seconds=2.25", ""
    )
    assert "this process no longer leads the fleet's maintenance" in text
    assert "worker stopped; jobs handed back: 0" in text
    assert "hunter2" not in text


def awa_database(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


@pytest.mark.parametrize(
    ("setup", "has"),
    [
        ('logging.basicConfig(level="INFO", format="OWN %(message)s", stream=sys.stdout)', "OWN "),
        ('logging.getLogger("awa_lib").addHandler(logging.NullHandler())', None),
    ],
    ids=["root", "awa"],
)
def test_a_program_that_configures_logging_keeps_it(
    database_url: str, tmp_path: Path, setup: str, has: str | None
) -> None:
    with awa.Client(database_url) as client:
        job = client.insert({}, kind="report")

        def done(_log: str) -> bool:
            return client.get_job(job.id).state == awa.JobState.Completed

        text = run_program(database_url, tmp_path, setup, done)

    lines = text.splitlines()
    assert "awa_lib" not in text
    assert (lines == []) if has is None else all(line.startswith(has) for line in lines)
    assert bool(lines) == bool(has)


async def test_what_was_handed_back_is_counted(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[int] = []

    @aclient.task(dict, kind="slow")
    async def slow(job: awa.Job) -> None:
        begun.append(job.id)
        await asyncio.Event().wait()

    with caplog.at_level(logging.INFO, "awa_lib"):
        async with working(aclient) as client:
            await client.insert_many([{}, {}, {}], kind="slow")
            await aeventually(lambda: len(begun) == 3)
            await client.shutdown(50)

    (stopped,) = [r for r in caplog.records if r.getMessage().startswith("worker stopped")]
    assert stopped.getMessage() == "worker stopped; jobs handed back: 3"
    assert stopped.handed_back == 3
    assert rows.states() == {"available": 3}
    assert not told(caplog)


def test_a_line_of_json_holds_anything() -> None:
    try:
        raise ValueError("half \ud800 a character")
    except ValueError:
        record = logging.makeLogRecord(
            {"msg": "a %s", "args": ("\ud800",), "exc_info": sys.exc_info(), "n": float("nan")}
        )
    line = JsonFormatter().format(record)
    line.encode()

    assert json.loads(line)["n"] == "nan"
    assert "half" in json.loads(line)["exception"]
