from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from asgiref.sync import sync_to_async
from django.db import connection

from app.api import task
from app.models import Note
from awa_lib.errors import TerminalError


@task
def add(a, b=0):
    return a + b


@task
def echo(*args, **kwargs):
    return [list(args), kwargs]


@task(priority=50, queue_name="mail")
def send(to):
    return to


@task
async def aadd(a, b=0):
    return a + b


@task(takes_context=True)
def look(context, word):
    result = context.task_result
    return [word, context.attempt, result.id, result.status, len(result.errors), result.attempts]


@task(takes_context=True)
async def alook(context):
    return [context.attempt, context.task_result.status]


@task
def fail(text="no"):
    raise ValueError(text)


@task
async def afail(text="no"):
    raise ValueError(text)


@task(takes_context=True)
def fail_first(context):
    if context.attempt == 1:
        raise KeyError("first")
    return context.task_result.errors[0].exception_class_path


@task
def give_up():
    raise TerminalError("there is no such order")


@task
def interrupted():
    raise KeyboardInterrupt


@task
def leave():
    raise SystemExit(3)


@task
def strange():
    return object()


@task
def large():
    return "x" * 2_000


@task
def note(text):
    Note.objects.create(text=text)
    return Note.objects.count()


@task
async def anote(text):
    await Note.objects.acreate(text=text)
    return await Note.objects.acount()


@task
def enqueue_another(n):
    return add.enqueue(n).id


def backend_pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


@task
def pid():
    return backend_pid()


@task
async def apid(place):
    """Return the connection of the ORM, while another runs: each tells in a file that it does."""
    found = await sync_to_async(backend_pid)()
    Path(place, str(found)).touch()
    until = time.monotonic() + 20
    while len(os.listdir(place)) < 2 and time.monotonic() < until:
        found = await sync_to_async(backend_pid)()
    return found


@task(takes_context=True)
def hold(context, place):
    """Run for ever in the first attempt."""
    if context.attempt == 1:
        Path(place, "begun").write_text(str(os.getpid()))
        while True:
            time.sleep(0.1)
    return context.attempt


@task(takes_context=True)
async def ahold(context, place):
    Path(place, "begun").touch()
    await asyncio.sleep(600)
