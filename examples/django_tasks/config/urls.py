"""The pages of the shop."""

from __future__ import annotations

from django.urls import path
from orders import views

urlpatterns = [
    path("orders", views.place_order),
    path("tasks/<str:task_id>", views.show_task),
]
