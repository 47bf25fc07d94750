"""Place an order and look at its task."""

from __future__ import annotations

from django.db import transaction
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from .models import Order
from .tasks import send_receipt

try:
    from django.tasks.exceptions import TaskResultDoesNotExist
except ImportError:  # before Django 6.0
    from django_tasks.exceptions import TaskResultDoesNotExist


@require_POST
def place_order(request: HttpRequest) -> JsonResponse:
    # The task is a row of the same transaction: it stays if, and only if, the order does.
    with transaction.atomic():
        order = Order.objects.create(email=request.POST["email"], item=request.POST["item"])
        task = send_receipt.enqueue(order.pk)
        if order.item == "sold out":
            transaction.set_rollback(True)
            return JsonResponse({"error": "sold out"}, status=409)
    return JsonResponse({"order": order.pk, "task": task.id}, status=201)


def show_task(_: HttpRequest, task_id: str) -> JsonResponse:
    try:
        result = send_receipt.get_result(task_id)
    except TaskResultDoesNotExist:
        raise Http404 from None
    said = result.return_value if result.status == "SUCCESSFUL" else None
    return JsonResponse({"status": result.status, "attempts": result.attempts, "said": said})
