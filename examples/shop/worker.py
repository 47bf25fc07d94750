"""The worker of the shop, with nearly everything that a worker can do.

DATABASE_URL=postgresql:///shop python worker.py set-up
DATABASE_URL=postgresql:///shop awa worker worker:client --health-port 8080
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from jobs import (
    AddressRefused,
    AskForReview,
    Charge,
    CountStock,
    ExportOrders,
    MailDown,
    SendReceipt,
    kinds,
    send_mail,
)

import awa_lib as awa

log = logging.getLogger("shop")
# Handlers in threads use the blocking client, which threads may share.
database = awa.Client(os.environ["DATABASE_URL"], kinds=kinds)
client = awa.AsyncClient(os.environ["DATABASE_URL"], kinds=kinds)

# How each queue is worked: slots, rate, deadline, backoff, dead letters, retention.
client.queue(
    "mail",
    concurrency=20,
    rate_limit=(500, 50),
    deadline_seconds=30,
    backoff=awa.exponential(float(os.environ.get("MAIL_RETRY_SECONDS", "5")), factor=3, most=3600),
)
client.queue("payments", concurrency=5, dead_letters=True, deadline_seconds=None)
client.queue("reports", concurrency=1, deadline_seconds=3600, retention={"completed_hours": 168})
client.queue("stock", concurrency=10)

# What operators read about them.
client.queue_descriptor(
    "payments", display_name="Payments", description="Charges of cards", owner="team-money"
)
client.job_kind_descriptor("charge", owner="team-money", description="Charge a card, and wait")


# A plain function runs in a thread.  What fails here and how often, ``kinds`` and the options say.
@client.task(SendReceipt, retry_on=MailDown, discard_on=AddressRefused)
def send_receipt(job: awa.Job[SendReceipt]) -> None:
    send_mail(job.args.to, f"Your order {job.args.order}")
    with database.transaction() as tx:
        tx.execute("UPDATE orders SET receipt_sent = true WHERE id = $1", job.args.order)


@client.task(AskForReview, retry_on=MailDown, discard_on=AddressRefused)
def ask_for_review(job: awa.Job[AskForReview]) -> awa.Snooze | awa.Cancel | None:
    with database.transaction() as tx:
        order = tx.fetch_optional("SELECT receipt_sent FROM orders WHERE id = $1", job.args.order)
    if order is None:
        return awa.Cancel("the order is gone")
    if not order["receipt_sent"]:
        return awa.Snooze(3600)  # no attempt is used up
    send_mail(job.args.to, "How was it?")
    return None


# The provider answers minutes later, at POST /payments/{callback} of the web app.
@client.task(Charge, backoff=awa.fixed(60))
async def charge(job: awa.Job[Charge]) -> None:
    callback = await job.register_callback(timeout_seconds=24 * 3600)
    async with client.transaction() as tx:  # stands for the request to the provider
        await tx.execute(
            "UPDATE orders SET callback = $2 WHERE id = $1", job.args.order, callback.id
        )
    answer = await job.wait_for_callback(callback)
    if not answer["ok"]:
        raise awa.TerminalError(f"the card was declined: {answer['reason']}")
    async with client.transaction() as tx:
        await tx.execute("UPDATE orders SET paid = true WHERE id = $1", job.args.order)


# Inserted in the transaction that completes the charge: no charge without its receipt.
@client.follow_up(Charge, awa.Completed)
def send_the_receipt(event: awa.Event) -> SendReceipt:
    return SendReceipt(event.args.order, event.args.to)


# A long job with checkpoints: killed or stopped, it goes on where it was.
@client.task(ExportOrders)
def export_orders(job: awa.Job[ExportOrders]) -> awa.Snooze | None:
    last = (job.progress or {}).get("metadata", {}).get("last", 0)
    while True:
        if job.is_cancelled():
            return awa.Snooze(0)
        with database.transaction() as tx:
            rows = tx.fetch_all(
                "SELECT id FROM orders WHERE id > $1 ORDER BY id LIMIT $2", last, job.args.batch
            )
        if not rows:
            return None
        last = rows[-1]["id"]
        job.update_metadata({"last": last})
        job.flush_progress_sync()


client.periodic(
    "export-orders", "30 3 * * *", ExportOrders, ExportOrders(), timezone="Europe/Paris"
)


@client.task(CountStock)
async def count_stock(job: awa.Job[CountStock]) -> None:
    await asyncio.sleep(0.01)  # stands for the scanner of the warehouse
    log.info("counted %s", job.args.warehouse)


# Called after the commit; a crash may lose the call, so nothing that must happen depends on it.
@client.on_event(Charge, awa.Exhausted, awa.Failed)
async def tell_accounting(event: awa.Event) -> None:
    log.error("order %s was not charged: %s", event.args.order, event.error)


def set_up() -> None:
    """Make the tables, and store limits that hold for all workers together."""
    database.migrate()
    with database.transaction() as tx:
        tx.execute(
            "CREATE TABLE IF NOT EXISTS orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " email text NOT NULL, item text NOT NULL, paid bool NOT NULL DEFAULT false,"
            " receipt_sent bool NOT NULL DEFAULT false, callback text)"
        )
    # At most one count in each warehouse, and four in all of them.
    database.set_queue_policy("stock", max_running=4, max_running_per_key=1)


if __name__ == "__main__":
    if sys.argv[1:] == ["set-up"]:
        set_up()
    else:
        awa.run(client)
