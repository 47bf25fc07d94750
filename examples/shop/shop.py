"""A small shop: an order is stored and its mail enqueued in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import awa_lib as awa

if TYPE_CHECKING:
    from awa_lib import Job

worker = awa.AsyncClient("postgresql:///shop")


@dataclass
class SendReceipt:
    order: int
    to: str


@dataclass
class AskForReview:
    order: int


class Mailer:
    """Stands for the outside world; tests look at what it sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

    async def send(self, to: str, order: int) -> None:
        if "@" not in to:
            raise ValueError(f"not an address: {to}")
        self.sent.append((to, order))


mailer = Mailer()


@worker.task(SendReceipt)
async def send_receipt(job: Job) -> None:
    await mailer.send(job.args.to, job.args.order)


@worker.task(AskForReview, queue="slow")
def ask_for_review(job: Job) -> awa.Snooze | None:
    """Ask once the receipt has gone out, whatever takes it so long."""
    if all(order != job.args.order for _, order in mailer.sent):
        return awa.Snooze(3600)
    return None


async def place_order(client: awa.AsyncClient, order: int, email: str) -> None:
    """Store an order and enqueue what follows, or neither."""
    if order < 1:
        raise ValueError(f"not an order: {order}")
    async with client.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY)")
        await tx.execute("INSERT INTO orders VALUES ($1)", order)
        await tx.insert(SendReceipt(order, email))
        await tx.insert(AskForReview(order), queue="slow")
