"""Place an order and look at it."""

from __future__ import annotations

from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from .jobs import SendReceipt, jobs
from .models import Order


@require_POST
def place_order(request: HttpRequest) -> JsonResponse:
    # The job is a row of the same transaction: it stays if, and only if, the order does.
    with transaction.atomic():
        order = Order.objects.create(email=request.POST["email"], item=request.POST["item"])
        job = jobs.using(connection).insert(SendReceipt(order.pk))
        if order.item == "sold out":
            transaction.set_rollback(True)
            return JsonResponse({"error": "sold out"}, status=409)
    return JsonResponse({"order": order.pk, "job": job.id}, status=201)


def show_order(_: HttpRequest, order_id: int) -> JsonResponse:
    order = get_object_or_404(Order, pk=order_id)
    return JsonResponse({"item": order.item, "receipt_sent": order.receipt_sent})
