"""Tests of the shop: no worker, no sleep, a fresh database each."""

from __future__ import annotations

import pytest
import shop

import awa_lib as awa
from awa_lib.testing import (
    assert_enqueued,
    assert_not_enqueued,
    drain,
    inline,
    travel,
    work_one,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def mailer(monkeypatch: pytest.MonkeyPatch) -> shop.Mailer:
    fresh = shop.Mailer()
    monkeypatch.setattr(shop, "mailer", fresh)
    return fresh


async def test_an_order_enqueues_its_receipt(awa_async_client: awa.AsyncClient) -> None:
    await shop.place_order(awa_async_client, 7, "ann@example.org")

    await assert_enqueued(awa_async_client, shop.SendReceipt, args={"order": 7}, count=1)


async def test_the_same_order_twice_enqueues_once(awa_async_client: awa.AsyncClient) -> None:
    await shop.place_order(awa_async_client, 7, "ann@example.org")
    with pytest.raises(awa.DatabaseError):
        await shop.place_order(awa_async_client, 7, "bob@example.org")

    await assert_not_enqueued(awa_async_client, shop.SendReceipt, args={"to": "bob@example.org"})


async def test_the_receipt_is_sent(awa_async_client: awa.AsyncClient, mailer: shop.Mailer) -> None:
    await shop.place_order(awa_async_client, 7, "ann@example.org")
    drained = await drain(awa_async_client, worker=shop.worker, raise_errors=True)

    assert drained.completed == 2
    assert mailer.sent == [("ann@example.org", 7)]


async def test_a_bad_address_is_tried_again(awa_async_client: awa.AsyncClient) -> None:
    await shop.place_order(awa_async_client, 7, "nobody")
    result = await work_one(awa_async_client, kind="send_receipt", worker=shop.worker)

    assert result.is_retryable()
    assert result.error is not None
    assert result.error.startswith("ValueError: not an address: nobody")


async def test_a_review_waits_for_the_receipt(awa_async_client: awa.AsyncClient) -> None:
    await shop.place_order(awa_async_client, 7, "ann@example.org")
    early = await work_one(awa_async_client, queue="slow", worker=shop.worker)
    await travel(awa_async_client, 3600)
    drained = await drain(awa_async_client, worker=shop.worker)

    assert early.is_snoozed()
    assert drained.completed == 2


async def test_inline_the_receipt_goes_out_with_the_order(
    awa_async_client: awa.AsyncClient, mailer: shop.Mailer
) -> None:
    with inline(awa_async_client, worker=shop.worker):
        await shop.place_order(awa_async_client, 7, "ann@example.org")

    assert mailer.sent == [("ann@example.org", 7)]


async def test_both_clients_see_one_database(
    awa_async_client: awa.AsyncClient, awa_sync_client: awa.Client, mailer: shop.Mailer
) -> None:
    awa_sync_client.insert(shop.SendReceipt(8, "bob@example.org"))
    await drain(awa_async_client, worker=shop.worker)

    assert mailer.sent == [("bob@example.org", 8)]
