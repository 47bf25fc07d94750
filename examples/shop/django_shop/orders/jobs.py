"""The jobs of the orders, and the worker that runs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import close_old_connections, connection, transaction

import awa_lib as awa

from .models import Order

kinds = awa.Kinds()
jobs = awa.Client(os.environ["DATABASE_URL"], kinds=kinds)
worker = awa.AsyncClient(os.environ["DATABASE_URL"], kinds=kinds)
worker.queue("mail", concurrency=10)


def close() -> None:
    if not connection.in_atomic_block:  # that of a TestCase
        close_old_connections()


@worker.middleware
def with_orm(_job: awa.Job, call_next: Callable[[], Any]) -> Any:
    """Close connections as Django does around a request.

    Each thread of the worker has one of its own, which may have died since the last job.
    """
    close()
    try:
        return call_next()
    finally:
        close()


@dataclass
class SendReceipt:
    order: int


# A plain function runs in a thread, where Django's blocking ORM belongs.
@worker.task(SendReceipt, queue="mail", max_attempts=5, discard_on=ValidationError)
def send_receipt(job: awa.Job[SendReceipt]) -> awa.Cancel | None:
    with transaction.atomic():
        order = Order.objects.select_for_update().filter(pk=job.args.order).first()
        if order is None:
            return awa.Cancel("the order is gone")
        if order.receipt_sent:  # jobs run at least once
            return None
        validate_email(order.email)  # stands for the mail provider
        order.receipt_sent = True
        order.save(update_fields=["receipt_sent"])
    return None
