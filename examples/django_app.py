"""A Django project in one file: a sign-up enqueues the mail in its own transaction.

DATABASE_URL=postgresql:///site python django_app.py set-up
DATABASE_URL=postgresql:///site python django_app.py runserver
DATABASE_URL=postgresql:///site awa worker django_app:worker
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

import awa_lib as awa

url = conninfo_to_dict(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url["dbname"],
            "USER": url.get("user", ""),
            "PASSWORD": url.get("password", ""),
            "HOST": url.get("host", ""),
            "PORT": url.get("port", ""),
        }
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",
    ALLOWED_HOSTS=["127.0.0.1"],
    DEBUG=False,
)
django.setup()

from django.core.management import execute_from_command_line  # noqa: E402 - after setup()
from django.db import connection, transaction  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402

jobs = awa.Client(os.environ["DATABASE_URL"])
worker = awa.AsyncClient(os.environ["DATABASE_URL"])


@dataclass
class Welcome:
    user: int


# A plain function runs in a thread, where Django's blocking ORM belongs.
@worker.task(Welcome)
def welcome(job: awa.Job[Welcome]) -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE members SET welcomed = true WHERE id = %s", [job.args.user])
    finally:
        connection.close()


@require_POST
def sign_up(request: HttpRequest) -> JsonResponse:
    email = request.POST.get("email", "")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO members (email) VALUES (%s) RETURNING id", [email])
            (user,) = cursor.fetchone()
        jobs.using(connection).insert(Welcome(user))
        if "@" not in email:
            # Neither the member nor the job stays.
            transaction.set_rollback(True)
            return JsonResponse({"error": "not an address"}, status=400)
    return JsonResponse({"user": user}, status=201)


urlpatterns = [path("members", sign_up)]


def set_up() -> None:
    jobs.migrate()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS members (id int GENERATED ALWAYS AS IDENTITY,"
            " email text, welcomed bool NOT NULL DEFAULT false)"
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["set-up"]:
        set_up()
    else:
        execute_from_command_line(sys.argv)
