"""Tests of the orders: no worker, no sleep, and Django rolls everything back."""

from __future__ import annotations

from django.test import TestCase

from awa_lib.django.testing import run_tasks

from .models import Order
from .tasks import count_orders


class PlaceOrder(TestCase):
    def place(self, email: str, item: str = "tea"):
        return self.client.post("/orders", {"email": email, "item": item})

    def test_an_order_sends_its_receipt(self) -> None:
        task = self.place("ann@example.org").json()["task"]
        (result,) = run_tasks()

        assert (result.id, result.status) == (task, "SUCCESSFUL")
        assert result.return_value == "sent to ann@example.org in attempt 1"
        assert Order.objects.get().receipt_sent

    def test_no_order_no_task(self) -> None:
        assert self.place("ann@example.org", "sold out").status_code == 409
        assert run_tasks() == []
        assert not Order.objects.exists()

    def test_a_bad_address_is_tried_again(self) -> None:
        self.place("nobody")
        (result,) = run_tasks()

        assert (result.status, result.attempts) == ("READY", 1)
        assert result.errors[0].exception_class.__name__ == "ValidationError"

    def test_an_async_task(self) -> None:
        self.place("ann@example.org")
        count_orders.enqueue("tea")

        assert run_tasks()[-1].return_value == 1
