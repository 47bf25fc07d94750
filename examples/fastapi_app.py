"""A web service that stores an order and enqueues its mail in one transaction.

    DATABASE_URL=postgresql:///shop uvicorn fastapi_app:app

The worker runs inside the service; for one of its own: awa worker fastapi_app:jobs
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

import awa_lib as awa

jobs = awa.AsyncClient(os.environ["DATABASE_URL"])
pool: AsyncConnectionPool[Any] = AsyncConnectionPool(os.environ["DATABASE_URL"], open=False)


class Order(BaseModel):
    email: str
    item: str


@dataclass
class SendReceipt:
    order: int
    email: str


@jobs.task(SendReceipt, queue="mail", max_attempts=5)
async def send_receipt(job: awa.Job[SendReceipt]) -> None:
    if "@" not in job.args.email:
        raise awa.TerminalError(f"not an address: {job.args.email}")
    async with pool.connection() as conn:  # stands for the mail server
        await conn.execute("UPDATE orders SET mailed = true WHERE id = %s", [job.args.order])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with jobs, pool:
        await jobs.migrate()
        async with pool.connection() as conn:
            await conn.execute(
                "CREATE TABLE IF NOT EXISTS orders (id int GENERATED ALWAYS AS IDENTITY,"
                " email text, item text, mailed bool NOT NULL DEFAULT false)"
            )
        await jobs.start()
        yield
        await jobs.shutdown()


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=201)
async def place_order(order: Order) -> dict[str, int]:
    # One transaction: no order without its job, no job without its order.
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "INSERT INTO orders (email, item) VALUES (%s, %s) RETURNING id",
            [order.email, order.item],
        )
        (order_id,) = await cursor.fetchone() or (0,)
        if order.item == "sold out":
            raise HTTPException(409, "sold out")
        job = await jobs.using(conn).insert(SendReceipt(order_id, order.email))
    return {"order": order_id, "job": job.id}


@app.get("/jobs/{job_id}")
async def job_state(job_id: int) -> dict[str, Any]:
    try:
        job = await jobs.get_job(job_id)
    except awa.JobNotFound as error:
        raise HTTPException(404, str(error)) from error
    return {"state": str(job.state), "attempt": job.attempt, "errors": len(job.errors)}
