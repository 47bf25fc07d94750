"""``awa job tail -f`` beside a worker under load: every transition is told, and told once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fix_cli import argv, environment
from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa

SECONDS = 3
BATCH = 25


@dataclass
class Work:
    n: int


class Tail:
    """The command as a process; ``found`` fills with what it prints."""

    def __init__(self, url: str) -> None:
        self.found: list[dict] = []
        self.process = subprocess.Popen(
            argv("job", "tail", "-f", "-n", 0, "-o", "ndjson"), env=environment(url), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert "Following" in self.process.stderr.readline()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        self.found.extend(json.loads(line) for line in self.process.stdout)

    def ended(self) -> int:
        return sum(one["event"] in {"completed", "failed", "cancelled"} for one in self.found)

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        self._reader.join(timeout=20)
        err = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.wait(timeout=20), err


@pytest.fixture
def tail(database_url) -> Iterator[Tail]:
    tail = Tail(database_url)
    yield tail
    if tail.process.poll() is None:
        tail.stop()


async def test_nothing_is_lost_of_a_thousand_jobs_a_second(tail, aclient, rows) -> None:
    """Commits out of order, a long transaction, retries, failures, cancellations, rollbacks."""

    @aclient.task(Work, queue="q")
    async def work(job: awa.Job[Work]) -> None:
        if job.args.n % 40 == 0 and job.attempt == 1:
            raise ValueError("later")
        if job.args.n % 90 == 1:
            raise awa.TerminalError("no")

    async def produce(first: int) -> None:
        """A batch each tenth of a second; every third commits after the next ones."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(SECONDS * 10):
            async with aclient.transaction() as tx:
                start = first + number * BATCH
                await tx.insert_many([Work(start + n) for n in range(BATCH)], queue="q")
                if number % 3 == 0:
                    await asyncio.sleep(0.15)
            await asyncio.sleep(began + (number + 1) / 10 - loop.time())

    async def late() -> None:
        async with aclient.transaction() as tx:
            await tx.insert_many([Work(2) for _ in range(BATCH)], queue="q")
            await asyncio.sleep(SECONDS)

    async def rolled_back() -> None:
        for _ in range(10):
            with pytest.raises(ZeroDivisionError):
                async with aclient.transaction() as tx:
                    await tx.insert(Work(2), queue="q")
                    raise ZeroDivisionError

    async def cancelled() -> None:
        for _ in range(BATCH):
            job = await aclient.insert(Work(2), queue="nobody")
            await asyncio.sleep(0.05)
            await aclient.cancel(job.id)

    producers = [produce(1_000_000 * n) for n in range(4)]
    jobs = 4 * SECONDS * 10 * BATCH + 2 * BATCH
    async with working(aclient, ("q", 100)):
        await asyncio.gather(*producers, late(), rolled_back(), cancelled())
        await aeventually(lambda: tail.ended() == jobs, timeout=60)
    assert tail.stop() == (130, "")

    told = Counter((one["id"], one["event"], one["attempt"]) for one in tail.found)
    assert {key for key, count in told.items() if count > 1} == set()
    expected = set()
    for job in rows.all("SELECT id, state::text AS state, attempt FROM awa.jobs"):
        expected |= {(job["id"], "created", 0), (job["id"], job["state"], job["attempt"])}
        for attempt in range(1, job["attempt"] + 1):
            expected.add((job["id"], "running", attempt))
            if attempt < job["attempt"]:
                expected.add((job["id"], "retryable", attempt))
    # That a retried job became due is told where no look saw it wait.
    assert {key for key in told if key[1] != "available"} == expected


def test_what_there_was_is_not_told_again(database_url, add, tail) -> None:
    assert tail.stop() == (130, "")
    add("completed", attempt=1, run_lease=1, attempted_at="now", finalized_at="now")
    running = subprocess.Popen(
        argv("job", "tail", "-f", "-o", "ndjson", "--interval", "100ms"), text=True,
        env=environment(database_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    events = [json.loads(running.stdout.readline())["event"] for _ in range(3)]
    job = add()
    created = json.loads(running.stdout.readline())
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=20)
    assert events == ["created", "running", "completed"]
    assert (created["id"], created["event"], out) == (job, "created", "")
