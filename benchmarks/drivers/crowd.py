"""Many worker identities in one process: ``python crowd.py COUNT QUEUE LISTENING``.

Each has one connection of its own, on which the first LISTENING of them listen, and the real claim
loop, policies and published row; its handlers end at once.  Its lock, heartbeat and channel checks
are the real statements at their real intervals.  Told by lines on stdin: ``reset`` forgets the
figures, ``tell`` prints them as JSON, ``stop`` ends the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import deque
from dataclasses import dataclass

from psycopg import sql as compose

from awa_lib.config.workers import WorkerOptions
from awa_lib.errors import AwaError
from awa_lib.ops import claims
from awa_lib.ops import runtime as ops
from awa_lib.runtime.dispatcher import Dispatcher
from awa_lib.runtime.links import Link, Outage
from awa_lib.runtime.policies import Policies
from awa_lib.runtime.publisher import Publisher
from awa_lib.runtime.run import loop_factory
from awa_lib.runtime.sessions import Bounds
from awa_lib.runtime.supervisor import Duty

URL = os.environ["DATABASE_URL"]
SLOTS = 10
CONNECTS_AT_ONCE = 10


class Figures:
    """What all identities of the process did."""

    def __init__(self) -> None:
        self.claims = self.empty = self.notified = 0
        self.seconds: list[float] = []
        self.pickups: list[float] = []
        self.started: list[int] = []
        self.troubles: list[str] = []


figures = Figures()


@dataclass
class Bare:
    id: int


@dataclass
class Ended:
    job: Bare
    lease: int
    progress_text: str | None = None


class ListeningLink(Link):
    """A link that also listens, as the listener of a worker does."""

    listens: list[str]
    listening: bool
    dispatcher: Dispatcher
    _listening = None

    async def connection(self):
        conn = await super().connection()
        if conn is not self._listening:
            self._listening = conn
            conn.add_notify_handler(lambda notify: self._noticed(notify.channel))
            for channel in self.listens if self.listening else ():
                await conn.execute(compose.SQL("LISTEN {}").format(compose.Identifier(channel)))
        return conn

    async def run(self, op):
        begun = time.perf_counter()
        try:
            return await super().run(op)
        finally:
            self.seconds = time.perf_counter() - begun
            conn = self._conn
            if conn is not None and not conn.closed:
                asyncio.get_running_loop().add_reader(conn.fileno(), self._read, conn)

    def _read(self, conn) -> None:
        try:
            conn.pgconn.consume_input()
            while notify := conn.pgconn.notifies():
                self._noticed(notify.relname.decode())
        except Exception as error:
            figures.troubles.append(repr(error))
            asyncio.get_running_loop().remove_reader(conn.pgconn.socket)

    def _noticed(self, channel: str) -> None:
        if channel == self.listens[0]:
            figures.notified += 1
            self.dispatcher.notice()


class Counted(Dispatcher):
    """A claim loop whose claims are counted."""

    async def _claimed_rows(self, wanted):
        begun = time.perf_counter()
        rows = await super()._claimed_rows(wanted)
        figures.claims += 1
        figures.empty += not rows
        figures.seconds.append(time.perf_counter() - begun)
        return rows


class Identity:
    """A worker as the server sees it."""

    may_claim = True
    has_room = True
    alive = True

    def __init__(self, queue: str, listening: bool) -> None:
        options = WorkerOptions.build([(queue, SLOTS)], [queue])
        outage = Outage()
        self.link = ListeningLink(
            "claims", dsn=URL, outage=outage,
            bounds=Bounds(lock_ms=250, hot=True, settings=(("synchronous_commit", "off"),)),
        )  # fmt: skip
        self.on_claimable = []
        self.ended: deque[Ended] = deque()
        self.ending: asyncio.Task | None = None
        self.dispatcher = self.link.dispatcher = Counted(
            options.queues[0], options=options, kinds=["bare"], link=self.link, executor=self,
            completer=self, overflow=None, listening=lambda _: listening,
        )  # fmt: skip
        self.link.listening = listening
        self.link.listens = [f"awa:{queue}", "awa:cancel", "awa_callback", "awa_policy"]
        self.publisher = Publisher(
            self.link, self.snapshot, queues=ops.described([queue], {}),
            kinds=ops.described(["bare"], {}),
        )  # fmt: skip
        self.policies = Policies(self.link, {queue: self.dispatcher}, lambda: None)
        self.row = ops.InstanceSnapshot(
            instance_id=str(random.randbytes(16).hex()), hostname="crowd", pid=os.getpid(),
            version="0", started_at="2026-01-01T00:00:00Z", healthy=True, postgres_connected=True,
            poll_loop_alive=True, heartbeat_alive=True, maintenance_alive=True,
            shutting_down=False, leader=False, global_max_workers=None,
            queues=[{"queue": queue, "in_flight": 0, "overflow_held": None, "config": {
                "mode": "hard_reserved", "max_workers": SLOTS, "min_workers": None, "weight": None,
                "global_max_workers": None, "poll_interval_ms": 200,
                "deadline_duration_secs": 300, "priority_aging_interval_secs": 60,
                "rate_limit": None}}],
            kinds=["bare"],
        )  # fmt: skip
        self.duties = [
            Duty("election", self.elect, seconds=5),
            Duty("channels", self.check_channels, seconds=20),
            Duty("heartbeat", self.beat, seconds=30),
        ]

    def snapshot(self):
        return self.row

    async def start(self) -> None:
        await self.link.connection()
        await self.publisher.start()
        await self.policies.start()
        await self.dispatcher.start()
        for duty in self.duties:
            await duty.start()

    async def elect(self) -> None:
        if await self.link.run(ops.try_lead()):
            await self.link.run(ops.step_down())

    async def check_channels(self) -> None:
        if self.link.listening:
            await self.link.run(ops.listening_channels())

    async def beat(self) -> None:
        if running := sorted((one.job.id, one.lease) for one in self.ended):
            await self.link.run(claims.heartbeat(running))

    def spawn(self, rows, slots, queue, freed) -> None:
        now = time.monotonic()
        for row in rows:
            slots.release()
            figures.started.append(row[0])
            figures.pickups.append(now - json.loads(row[8])["t"])
            self.ended.append(Ended(Bare(row[0]), row[7]))
        freed()
        if self.ending is None or self.ending.done():
            self.ending = asyncio.create_task(self.finish())

    async def finish(self) -> None:
        while self.ended:
            batch = sorted(self.ended, key=lambda one: one.job.id)
            self.ended.clear()
            await self.link.run(claims.finish_completed(batch))

    async def wait_for_room(self) -> None: ...


async def told(identities: list[Identity]) -> None:
    global figures
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        if line == "reset":
            figures = Figures()
        elif line == "tell":
            # Copied: a claim in between would change them.
            now, figures.troubles[:] = vars(figures).copy(), [
                *figures.troubles,
                *(f"{one.dispatcher.duty.name}: {one.dispatcher.duty.state.failures} failures"
                  for one in identities if one.dispatcher.duty.state.failures),
            ]  # fmt: skip
            print(json.dumps(now), flush=True)
        else:
            return


async def main(count: int, queue: str, listening: int) -> None:
    identities = [Identity(queue, number < listening) for number in range(count)]
    gate = asyncio.Semaphore(CONNECTS_AT_ONCE)

    async def begin(one: Identity) -> None:
        async with gate:
            for _ in range(5):
                try:
                    return await one.start()
                except AwaError as error:
                    figures.troubles.append(f"start: {error}")
        raise SystemExit("an identity could not start")

    await asyncio.gather(*map(begin, identities))
    print(json.dumps({"ready": count}), flush=True)
    await told(identities)
    os._exit(0)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
