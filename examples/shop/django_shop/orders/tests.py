"""Tests of the orders: no worker, no sleep, and Django rolls everything back."""

from __future__ import annotations

from django.db import connection
from django.test import TestCase

from awa_lib.testing import assert_enqueued, assert_not_enqueued, work_one

from .jobs import SendReceipt, jobs, worker
from .models import Order


class PlaceOrder(TestCase):
    def test_an_order_enqueues_its_receipt(self) -> None:
        answer = self.client.post("/orders", {"email": "ann@example.org", "item": "tea"})
        mine = jobs.using(connection)
        assert_enqueued(mine, SendReceipt, args={"order": answer.json()["order"]}, count=1)

        assert work_one(mine, worker=worker).is_completed()
        assert Order.objects.get().receipt_sent

    def test_no_order_no_job(self) -> None:
        answer = self.client.post("/orders", {"email": "ann@example.org", "item": "sold out"})

        assert answer.status_code == 409
        assert_not_enqueued(jobs.using(connection), SendReceipt)
        assert not Order.objects.exists()

    def test_a_bad_address_is_not_tried_again(self) -> None:
        self.client.post("/orders", {"email": "nobody", "item": "tea"})

        assert work_one(jobs.using(connection), worker=worker).is_cancelled()
