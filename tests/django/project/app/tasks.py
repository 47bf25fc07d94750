from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from asgiref.sync import sync_to_async
from django.db import connection
from django.dispatch import receiver

from app.api import task, task_finished
from app.models import Note
from awa_lib.errors import TerminalError
from awa_lib.logs import current_job


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


@task(takes_context=True)
async def begin(context, place):
    """Run for ever when it runs first."""
    begun = Path(place, "begun")
    if not begun.exists():
        begun.touch()
        await asyncio.sleep(600)
    return context.attempt


@task
async def nap():
    await current_job().sleep("night", 0.2)
    return "up"


@task
async def cancel_itself():
    raise asyncio.CancelledError("a part of it was cancelled")


@task
def oversleep(seconds):
    time.sleep(seconds)
    return "late"


@task(takes_context=True)
async def aoversleep(context, most):
    """Take too long in the first attempts."""
    if context.attempt <= most:
        await asyncio.sleep(600)
    return context.attempt


@task
def heed(place):
    """Return when the job is cancelled, as if nothing were."""
    Path(place, "heeds").touch()
    while not current_job().is_cancelled():
        time.sleep(0.05)
    return "done"


if "TOLD" in os.environ:

    @receiver(task_finished)
    def tell(sender, task_result, **_):
        """Write what the signal of the end says."""
        names = [one.exception_class_path for one in task_result.errors]
        with open(os.environ["TOLD"], "a") as told:
            told.write(" ".join([task_result.id, str(task_result.status), *names]) + "\n")
