"""An order that waits for two answers of a payment provider, one after the other.

    DATABASE_URL=embedded: python payments.py work
    DATABASE_URL=embedded: python payments.py order 7 49.90
    DATABASE_URL=embedded: python payments.py answer 7 authorised
    DATABASE_URL=embedded: python payments.py answer 7 captured

Stop the worker between the answers, or kill it, and start it again: the order goes on where it was.
In production the provider calls an endpoint of yours, which does what ``answer`` does here.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import awa_lib as awa

worker = awa.AsyncClient(os.environ["DATABASE_URL"])
database = awa.Client(os.environ["DATABASE_URL"], kinds=worker.kinds)


@dataclass
class Pay:
    order: int
    amount: str


def note(order: int, step: str, callback: str | None = None) -> None:
    """Remember how far an order is; a step that is there already stays as it is."""
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO payments VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            order,
            step,
            callback,
        )


# After a restart the handler runs again from its top.  It gets the same callbacks and the answers
# that have come, in the same order, so what it does on the way must not mind being done twice.
@worker.task(Pay, queue="payments")
async def pay(job: awa.Job[Pay]) -> None:
    for step in ("authorised", "captured"):
        callback = await job.register_callback(timeout_seconds=24 * 3600)
        note(job.args.order, f"asked: {step}", callback.id)
        answer = await job.wait_for_callback(callback)
        if not answer["ok"]:
            raise awa.TerminalError(f"the payment was not {step}: {answer['reason']}")
        note(job.args.order, step)


def set_up() -> None:
    database.migrate()
    with database.transaction() as tx:
        tx.execute(
            "CREATE TABLE IF NOT EXISTS payments ("
            "order_id int, step text, callback text, PRIMARY KEY (order_id, step))"
        )


def answer(order: int, step: str, *, ok: bool) -> None:
    with database.transaction() as tx:
        asked = tx.fetch_optional(
            "SELECT callback FROM payments WHERE order_id = $1 AND step = $2",
            order,
            f"asked: {step}",
        )
    if asked is None:
        sys.exit(f"order {order} does not wait for being {step}")
    database.resume_external(asked["callback"], {"ok": ok, "reason": None if ok else "declined"})


def main(arguments: list[str]) -> None:
    match arguments:
        case ["work"]:
            set_up()
            awa.run(worker)
        case ["order", order, amount]:
            set_up()
            job = database.insert(Pay(int(order), amount))
            print(f"order {order} is job {job.id}")
        case ["answer", order, ("authorised" | "captured") as step]:
            answer(int(order), step, ok=True)
        case ["decline", order, ("authorised" | "captured") as step]:
            answer(int(order), step, ok=False)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
