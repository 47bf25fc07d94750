"""Settings of the shop; those of its tasks are the last lines."""

from __future__ import annotations

import os

from psycopg.conninfo import conninfo_to_dict

_url = conninfo_to_dict(os.environ["DATABASE_URL"])

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url["dbname"],
        "USER": _url.get("user", ""),
        "PASSWORD": _url.get("password", ""),
        "HOST": _url.get("host", ""),
        "PORT": _url.get("port", ""),
    }
}
INSTALLED_APPS = ["awa_lib.django", "orders"]
ROOT_URLCONF = "config.urls"
SECRET_KEY = "only for this example"
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
DEBUG = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TASKS = {
    "default": {
        "BACKEND": "awa_lib.django.AwaBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"max_attempts": 5},
    }
}
