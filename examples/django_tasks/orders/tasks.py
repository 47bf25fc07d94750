"""The tasks of the orders; a worker finds them here."""

from __future__ import annotations

from django.core.validators import validate_email
from django.db import transaction

from .models import Order

try:
    from django.tasks import task
except ImportError:  # before Django 6.0
    from django_tasks import task


@task(queue_name="mail", takes_context=True)
def send_receipt(context, order_id: int) -> str:
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if not order.receipt_sent:  # a task runs at least once
            validate_email(order.email)  # stands for the mail provider
            order.receipt_sent = True
            order.save(update_fields=["receipt_sent"])
    return f"sent to {order.email} in attempt {context.attempt}"


@task
async def count_orders(item: str) -> int:
    return await Order.objects.filter(item=item).acount()
