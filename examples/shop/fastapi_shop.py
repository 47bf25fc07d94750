"""The shop on FastAPI and SQLAlchemy: an order and its jobs commit together, or not at all.

DATABASE_URL=postgresql:///shop python worker.py set-up
DATABASE_URL=postgresql:///shop uvicorn fastapi_shop:app
DATABASE_URL=postgresql:///shop awa worker worker:client
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI, HTTPException
from jobs import AskForReview, Charge, CountStock, SendReceipt, kinds
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import awa_lib as awa

URL = os.environ["DATABASE_URL"]
jobs = awa.AsyncClient(URL, kinds=kinds)
# "postgresql+psycopg://HOST/shop" does too; this takes any URL that libpq takes.
engine = create_async_engine(
    "postgresql+psycopg://", async_creator=lambda: psycopg.AsyncConnection.connect(URL)
)
# Objects stay readable after the commit: an async session cannot load them again by itself.
open_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    item: Mapped[str]
    paid: Mapped[bool] = mapped_column(default=False)
    receipt_sent: Mapped[bool] = mapped_column(default=False)
    callback: Mapped[str | None]


class NewOrder(BaseModel):
    email: str
    item: str
    cents: int = 0


class Answer(BaseModel):
    ok: bool
    reason: str | None = None


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with jobs:
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session() -> AsyncIterator[AsyncSession]:
    async with open_session() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


@app.post("/orders", status_code=201)
async def place_order(new: NewOrder, db: Session) -> dict[str, int]:
    async with db.begin():
        order = Order(email=new.email, item=new.item)
        db.add(order)
        await db.flush()  # gives the order its id
        mine = jobs.using(db)
        if new.cents:
            job = await mine.insert(Charge(order.id, order.email, new.cents))
        else:
            job = await mine.insert(SendReceipt(order.id, order.email))
        await mine.insert(AskForReview(order.id, order.email), delay="3d")
        if new.item == "sold out":
            raise HTTPException(409, "sold out")  # neither the order nor its jobs stay
    return {"order": order.id, "job": job.id}


@app.get("/orders/{order_id}")
async def show_order(order_id: int, db: Session) -> dict[str, Any]:
    order = await db.get(Order, order_id)
    if order is None:
        raise HTTPException(404, f"order {order_id} does not exist")
    return {"paid": order.paid, "receipt_sent": order.receipt_sent, "callback": order.callback}


@app.post("/payments/{callback_id}")
async def payment_answered(callback_id: str, answer: Answer) -> dict[str, str]:
    try:
        job = await jobs.resume_external(callback_id, answer.model_dump())
    except awa.CallbackNotFound as error:
        raise HTTPException(404, str(error)) from error
    return {"state": str(job.state)}


@app.post("/stock/{warehouse}", status_code=202)
async def count(warehouse: str) -> dict[str, int]:
    # The key makes one warehouse wait for itself, and for no other.
    job = await jobs.insert(CountStock(warehouse), concurrency_key=warehouse)
    return {"job": job.id}
