"""The app ``awa_lib.django``: the commands awa_worker and awa_migrate."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate

__all__ = ["AwaConfig"]


class AwaConfig(AppConfig):  # type: ignore[misc] # Django is not typed
    """The app, with the label ``awa``."""

    name = "awa_lib.django"
    label = "awa"
    verbose_name = "awa"

    def ready(self) -> None:
        """Let ``manage.py migrate``, and so the making of a test database, apply ours too."""
        from awa_lib.django.schema import after_migrate

        post_migrate.connect(after_migrate, sender=self, dispatch_uid="awa")
