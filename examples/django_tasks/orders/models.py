"""What customers have ordered."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    email = models.TextField()
    item = models.TextField()
    receipt_sent = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.item} for {self.email}"
