"""Live events: each topic is read once an interval, however many clients follow it.

A topic is read only while it has watchers.  Each event is encoded once and given to every watcher.
A slow watcher gets only the newest snapshot of a topic, and at most 50 events of the activity.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from awa_cli.documents.encoding import encode
from awa_cli.feed import Feed
from awa_cli.web.problems import Problem, Refused
from awa_lib.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from awa_cli.web.state import State
    from awa_lib._sql import Op
    from awa_lib.reads.workflows import WorkflowOverview

__all__ = ["ONE", "TOPICS", "Hub"]

TOPICS: Final = ("stats", "queues", "runtime", "cron", "batches", "workflows", "activity")
ONE: Final = "(job|workflow):([1-9][0-9]{0,17})"
"""The topics of one thing, as a pattern."""
_ONE: Final = re.compile(ONE)
# Of the topic of workflows: the newest, and the newest that are open.
_MOST_WORKFLOWS: Final = 50
_MAX_TOPICS: Final = 8
_MAX_WATCHERS: Final = 1_000
# Events of the activity kept for a slow watcher.
_MAX_PENDING: Final = 50
_KEEP_ALIVE_SECONDS: Final = 15.0


@cache
def _snapshots() -> dict[str, Callable[[], Any]]:
    """Return the read of each topic; imported at first use, not at the start of the server."""
    from awa_cli.web.api.overview import stats
    from awa_lib.reads.bulk import list_bulk_operations
    from awa_lib.reads.cron import list_cron_jobs
    from awa_lib.reads.queues import queue_stats
    from awa_lib.reads.runtime import runtime_overview

    return {
        "stats": stats,
        "queues": queue_stats,
        "runtime": runtime_overview,
        "cron": list_cron_jobs,
        "batches": list_bulk_operations,
        "workflows": _workflows,
    }


def _workflows() -> Op[list[WorkflowOverview]]:
    """Read the newest workflows, and the newest that are open, which may be older."""
    from awa_lib.reads.workflows import list_workflows

    newest = yield from list_workflows(limit=_MOST_WORKFLOWS)
    known = {one.id for one in newest}
    still_open = yield from list_workflows(state="open", limit=_MOST_WORKFLOWS)
    return [*newest, *(one for one in still_open if one.id not in known)]


class Hub:
    """The topics that have watchers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._channels: dict[str, _Channel] = {}
        self._watchers: set[_Watcher] = set()
        self._closing = False

    def check(self, topics: list[str]) -> list[str]:
        """Return the topics without duplicates.  Raises Refused (422, 503)."""
        for topic in topics:
            if topic not in TOPICS and not _ONE.fullmatch(topic):
                raise Refused(
                    422,
                    f"there is no topic {topic[:40]!r}",
                    f"topics are {', '.join(TOPICS)}, job:ID, workflow:ID",
                )
        if len(set(topics)) > _MAX_TOPICS:
            raise Refused(422, f"more than {_MAX_TOPICS} topics", do="open a second stream")
        if len(self._watchers) >= _MAX_WATCHERS:
            raise Refused(503, "too many live streams are open", f"the limit is {_MAX_WATCHERS}")
        return list(dict.fromkeys(topics)) or ["stats", "queues"]

    async def watch(self, topics: list[str]) -> AsyncIterator[bytes]:
        """Yield server-sent events until the client leaves or the server stops.

        The stream also ends when the access file changes: browsers reconnect, and the guard checks
        them again.
        """
        settings = self._state.settings
        access = settings.current_access()
        with self._watching(topics) as watcher:
            yield b"retry: 2000\n\n"
            while not self._closing and settings.current_access() is access:
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                        await watcher.wake.wait()
                except TimeoutError:
                    yield b": alive\n\n"
                    continue
                if settings.current_access() is not access:
                    return
                for text in watcher.take():
                    yield text

    @contextmanager
    def _watching(self, topics: list[str]) -> Iterator[_Watcher]:
        watcher = _Watcher()
        self._watchers.add(watcher)
        for topic in topics:
            if topic not in self._channels:
                self._channels[topic] = _Channel(self._state, topic)
            self._channels[topic].join(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            for topic in topics:
                if self._channels[topic].leave(watcher):
                    del self._channels[topic]

    def close(self) -> None:
        """End every stream."""
        self._closing = True
        for watcher in self._watchers:
            watcher.wake.set()


class _Watcher:
    """The events that a stream has not sent yet."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._newest: dict[str, bytes] = {}
        self._stream: deque[bytes] = deque(maxlen=_MAX_PENDING)

    def give(self, topic: str, text: bytes, *, newest: bool) -> None:
        """Keep an event to send; with ``newest`` it replaces the previous event of the topic."""
        if newest:
            self._newest[topic] = text
        else:
            if len(self._stream) == _MAX_PENDING:
                self._stream.clear()
                text = _event("missed", {"topic": topic})
            self._stream.append(text)
        self.wake.set()

    def take(self) -> list[bytes]:
        """Return the pending events, and forget them."""
        texts = [*self._newest.values(), *self._stream]
        self._newest.clear()
        self._stream.clear()
        self.wake.clear()
        return texts


class _Channel:
    """A topic, read while it has watchers."""

    def __init__(self, state: State, topic: str) -> None:
        self._state = state
        self._topic = topic
        self._watchers: set[_Watcher] = set()
        self._last: bytes | None = None
        self._task = asyncio.create_task(self._run(), name=f"awa events {topic}")

    def join(self, watcher: _Watcher) -> None:
        self._watchers.add(watcher)
        if self._last is not None:
            watcher.give(self._topic, self._last, newest=True)

    def leave(self, watcher: _Watcher) -> bool:
        """Remove a watcher; return True if it was the last."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._task.cancel()
        return not self._watchers

    async def _run(self) -> None:
        snapshot = self._topic != "activity"
        read = self._reader()
        async for reading in Feed(read, self._state.settings.event_seconds):
            if isinstance(error := reading.error, NotFound):
                text = _event("gone", {"topic": self._topic})
            elif error is not None:
                what = str(error)
                text = _event("lost", asdict(Problem(what, what, error.why, error.hint)))
            elif not snapshot and not reading.value:
                continue
            else:
                text = _event(self._topic.partition(":")[0], reading.value)
            if snapshot:
                if text == self._last:
                    continue
                self._last = text
            for watcher in self._watchers:
                watcher.give(self._topic, text, newest=snapshot)

    def _reader(self) -> Callable[[], Awaitable[Any]]:
        redactor = self._state.settings.redactor
        make = self._maker()

        async def read() -> Any:
            document = encode(await make())
            return document if redactor is None else redactor.document(document)

        return read

    def _maker(self) -> Callable[[], Awaitable[Any]]:
        run = self._state.run
        if found := _ONE.fullmatch(self._topic):
            return _reader_of_one(self._state, found[1], int(found[2]))
        if self._topic == "activity":
            return _ActivityReader(self._state).step
        read = _snapshots()[self._topic]
        return lambda: run(read())


def _reader_of_one(state: State, noun: str, number: int) -> Callable[[], Awaitable[Any]]:
    from awa_lib.reads.job_dumps import dump_job
    from awa_lib.reads.workflows import get_workflow

    read: Callable[[int], Any] = dump_job if noun == "job" else get_workflow
    return lambda: state.run(read(number))


class _ActivityReader:
    """Reads the transitions since its last step."""

    def __init__(self, state: State) -> None:
        from awa_lib.reads.activity import Activity

        self._state = state
        self._activity = Activity()
        self._begun = False

    async def step(self) -> list[Any]:
        if not self._begun:
            await self._state.run(self._activity.begin())
            self._begun = True
        return list(await self._state.run(self._activity.step()))


def _event(name: str, data: Any) -> bytes:
    from awa_cli.web.dispatch import dumps

    return f"event: {name}\ndata: {dumps(data)}\n\n".encode()
