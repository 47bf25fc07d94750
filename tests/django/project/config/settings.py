"""Settings: two databases of the same server, and a backend of each kind."""

from __future__ import annotations

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict


def database(url: str, **more: Any) -> dict[str, Any]:
    parts = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts["dbname"],
        "USER": parts.get("user", ""),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": parts.get("port", ""),
        **more,
    }


DATABASES = {
    "default": database(os.environ["DATABASE_URL"]),
    "second": database(os.environ["SECOND_URL"]),
    "lite": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
INSTALLED_APPS = ["django.contrib.contenttypes", "awa_lib.django", "app"]
TASKS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "awa_lib.django.AwaBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"max_attempts": 2, "result_max_bytes": 1_000},
    },
    "second": {
        "BACKEND": "awa_lib.django.AwaBackend",
        "OPTIONS": {"database": "second", "concurrency": 2},
    },
    "hasty": {
        "BACKEND": "awa_lib.django.AwaBackend",
        "QUEUES": ["hasty"],
        "OPTIONS": {"max_attempts": 1, "deadline_seconds": 1},
    },
    "anywhere": {"BACKEND": "awa_lib.django.AwaBackend", "QUEUES": []},
}
try:
    import django.tasks  # noqa: F401 - Django 6.0 or later
except ImportError:
    INSTALLED_APPS.append("django_tasks")
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
SECRET_KEY = "only for this test"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
