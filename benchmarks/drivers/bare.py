"""The statements of awa alone, as its files have them: what this layout of tables allows.

The drain claims and completes on connections of their own, each in a thread; it makes no objects of
the rows, and runs no handlers.  With BENCH_VALUES an insert is an INSERT … VALUES into the same
table instead of the shipped statement.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass
from datetime import datetime

import psycopg
import roles

import awa_lib as awa
from awa_lib._sql import Statement, sql
from awa_lib.codec.pgtext import int_array
from awa_lib.enqueue.blocks import Blocks
from awa_lib.enqueue.kinds import UNDECLARED
from awa_lib.enqueue.new_jobs import check_one
from awa_lib.runtime.sessions import HOT_PLANS

CONNECTIONS = 2
counting = threading.Lock()
BATCH = 500
VALUES = (
    "INSERT INTO awa.jobs_hot (kind, queue, args, priority, max_attempts)"
    " VALUES ($1, $2, $3::jsonb, 2, 25) RETURNING id"
)


@dataclass
class Noop:
    n: int
    t: float = 0.0


def insertion(i: int, t: float) -> tuple[str, tuple[object, ...]]:
    new = check_one(Noop(i, t), queue="q")
    if "BENCH_VALUES" in os.environ:
        return VALUES, ("noop", "q", new.args[0])
    statement = sql.jobs("insert_one", **new.immediate_params())
    return statement.query.text, statement.values


def claim(lease: int) -> Statement:
    return sql.claims(
        "claim_kind", queue="q", kind="noop", limit=BATCH, deadline_seconds=300.0, lease=lease,
        passing=int_array([]),
    )  # fmt: skip


def loop(lease: int, stop: threading.Event) -> None:
    """Claim and complete; look again after a moment when there is nothing to do."""
    with psycopg.connect(roles.URL, autocommit=True, prepare_threshold=0) as conn:
        for name, value in HOT_PLANS:
            conn.execute("SELECT set_config(%s, %s, false)", [name, value])
        cursor = psycopg.RawCursor(conn)
        claims = claim(lease)
        while not stop.is_set():
            result = cursor.execute(claims.query.text, claims.values).pgresult
            assert result is not None
            ids = sorted(int(result.get_value(row, 0)) for row in range(result.ntuples))
            if not ids:
                stop.wait(0.005)
                continue
            ends = sql.claims(
                "finish_completed", ids=int_array(ids), leases=int_array([lease] * len(ids))
            )
            cursor.execute(ends.query.text, ends.values)
            with counting:
                roles.shown[0] += len(ids)


class Driver:
    async def setup(self) -> None:
        await awa.migrate(roles.URL)

    async def open(self, connections: int = 1) -> None:
        self.conn = await psycopg.AsyncConnection.connect(
            roles.URL, autocommit=True, prepare_threshold=0
        )
        self.cursor = psycopg.AsyncRawCursor(self.conn)
        self.rests: list[str] = []

    async def insert(self, i: int, t: float) -> None:
        await self.cursor.execute(*insertion(i, t))
        await self.cursor.fetchone()

    async def insert_batch(self, numbers: range, t: float = 0.0) -> None:
        reserve = sql.jobs("reserve_ids", count=len(numbers))
        async with self.conn.transaction():
            await self.cursor.execute(reserve.query.text, reserve.values)
            ids, now = await self.cursor.fetchone()
            text = sql.jobs.copy("copy_available", ()).query.text
            async with self.cursor.copy(text) as copy:
                await copy.write(self.rows(ids, now))

    def rows(self, ids: list[int], now: datetime) -> str:
        """Return the rows of a batch; all but their ids is made once."""
        if len(self.rests) < len(ids):
            blocks = Blocks([Noop(i) for i in range(len(ids))], kinds=UNDECLARED, queue="q")
            lines = "".join(blocks.text(ids, now, keep=False)).splitlines(keepends=True)
            self.rests = [line[line.index("\t") :] for line in lines]
        return "".join([f"{one}{rest}" for one, rest in zip(ids, self.rests, strict=False)])

    def open_sync(self) -> None:
        self.sync = psycopg.RawCursor(
            psycopg.connect(roles.URL, autocommit=True, prepare_threshold=0)
        )

    def insert_sync(self, i: int, t: float) -> None:
        self.sync.execute(*insertion(i, t)).fetchone()

    async def close(self) -> None:
        await self.conn.close()

    async def work(self, concurrency: int, ready) -> None:
        stop = threading.Event()
        ready()
        await asyncio.gather(*(asyncio.to_thread(loop, n + 1, stop) for n in range(CONNECTIONS)))


roles.main(Driver)
