"""Insert jobs: one, many, or many by COPY.  All three write the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import atomic, sql
from awa_lib.args import encode, encode_object
from awa_lib.errors import ValidationError
from awa_lib.kinds import kind_of
from awa_lib.models import Job
from awa_lib.unique import UniqueOptions, states_bits, unique_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from awa_lib._sql import Op, Rows

__all__ = ["insert", "insert_many", "insert_many_copy"]

RunAt = datetime | str | None

_CHUNK: Final = 1_000
_COPY_CHUNK: Final = 10_000
_LONGEST_QUEUE: Final = 200
_MOST_TAGS: Final = 20
_PRIORITIES: Final = (1, 4)
_ATTEMPTS: Final = (1, 1000)


@dataclass(frozen=True, slots=True)
class _Shared:
    """The options all jobs of one call have in common, checked."""

    queue: str
    priority: int
    max_attempts: int
    tags: list[str]
    metadata: str
    run_at: datetime | None


def insert(
    args: Any,
    *,
    kind: str | None = None,
    queue: str = "default",
    priority: int = 2,
    max_attempts: int = 25,
    tags: list[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    run_at: RunAt = None,
    unique_opts: Mapping[str, Any] | None = None,
) -> Op[Job]:
    """Insert a job and return it.  One statement; workers are notified at commit.

    ``priority`` 1 (most urgent) to 4; ``run_at`` in the future makes it scheduled, in the past it
    is available at once; naive times are UTC.  ``unique_opts``: by_queue, by_args, by_period (the
    bucket number), states (mask).  Raises ValidationError, SerializationError, UniqueConflict.
    """
    shared = _shared(queue, priority, max_attempts, tags, metadata, run_at)
    name = kind_of(args, kind)
    text = encode(args)
    key, mask = "{}", "{}"
    if unique_opts is not None:
        key, mask = _unique(UniqueOptions.parse(unique_opts), name, shared.queue, text)
    rows = yield from _send(shared, name, [text], "{}", key, mask)
    return _job(shared, name, text, rows[0])


def insert_many(
    jobs: Iterable[Any],
    *,
    kind: str | None = None,
    queue: str = "default",
    priority: int = 2,
    max_attempts: int = 25,
    tags: list[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    run_at: RunAt = None,
) -> Op[list[Job]]:
    """Insert jobs and return them in input order, ids ascending; all or none.

    One statement per 1,000 jobs.  The options apply to every job; kinds may be mixed.
    Raises as ``insert``.
    """
    shared = _shared(queue, priority, max_attempts, tags, metadata, run_at)
    encoded = [(kind_of(job, kind), encode(job)) for job in jobs]
    if len(encoded) <= _CHUNK:
        return (yield from _insert_chunk(shared, encoded))
    return (yield from _insert_chunks(shared, encoded))


@atomic
def _insert_chunks(shared: _Shared, encoded: Sequence[tuple[str, str]]) -> Op[list[Job]]:
    done: list[Job] = []
    for start in range(0, len(encoded), _CHUNK):
        done += yield from _insert_chunk(shared, encoded[start : start + _CHUNK])
    return done


def _insert_chunk(shared: _Shared, encoded: Sequence[tuple[str, str]]) -> Op[list[Job]]:
    if not encoded:
        return []
    first = encoded[0][0]
    uniform = all(kind is first or kind == first for kind, _ in encoded)
    kinds = "{}" if uniform else _array([kind for kind, _ in encoded])
    rows = yield from _send(shared, first, [text for _, text in encoded], kinds, "{}", "{}")
    return _jobs(shared, encoded, rows)


def _send(
    shared: _Shared, kind: str, texts: Sequence[str], kinds: str, keys: str, masks: str
) -> Op[Rows]:
    """Send one insert; where another storage engine takes the writes, through its door."""
    params = {
        "args": f"[{','.join(texts)}]",
        "kinds": kinds,
        "queues": "{}",
        "priorities": "{}",
        "max_attempts_each": "{}",
        "run_ats": "{}",
        "metadata_each": "[]",
        "tags_each": "{}",
        "unique_keys": keys,
        "unique_states_each": masks,
        "kind": kind,
        "queue": shared.queue,
        "priority": shared.priority,
        "max_attempts": shared.max_attempts,
        "run_at": shared.run_at,
        "metadata": shared.metadata,
        "tags": _array(shared.tags),
    }
    rows = yield sql.jobs("insert_jobs", **params)
    if not rows:
        rows = yield sql.jobs("insert_jobs_compat", **params)
    return rows


@atomic
def insert_many_copy(
    jobs: Iterable[Any],
    *,
    kind: str | None = None,
    queue: str = "default",
    priority: int = 2,
    max_attempts: int = 25,
    tags: list[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    run_at: RunAt = None,
) -> Op[list[Job]]:
    """Do what ``insert_many`` does by COPY: the fastest way for large numbers; all or none.

    Runs in a transaction, or a savepoint of the caller's, and keeps a storage transition waiting
    until it ends.  Raises as ``insert``.
    """
    shared = _shared(queue, priority, max_attempts, tags, metadata, run_at)
    done: list[Job] = []
    for chunk in _chunks(jobs, kind):
        rows = yield sql.jobs("reserve_ids", count=len(chunk), run_at=shared.run_at)
        if not rows:
            done += yield from _insert_chunk(shared, chunk)
            continue
        later = rows[0][1] == "scheduled"
        moment = rows[0][2].isoformat()
        block = "copy_scheduled" if later else "copy_available"
        yield sql.jobs.copy(block, _lines(shared, chunk, rows, moment))
        done += _jobs(shared, chunk, rows)
    return done


def _chunks(jobs: Iterable[Any], kind: str | None) -> Iterator[list[tuple[str, str]]]:
    chunk: list[tuple[str, str]] = []
    for job in jobs:
        chunk.append((kind_of(job, kind), encode(job)))
        if len(chunk) == _COPY_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _lines(
    shared: _Shared, chunk: Sequence[tuple[str, str]], rows: Rows, moment: str
) -> Iterator[str]:
    """Write COPY text; JSON holds no raw tab or newline, so only backslashes need care."""
    before = _escape(shared.queue)
    after = "\t".join(
        [
            str(shared.priority),
            str(shared.max_attempts),
            moment,
            _escape(shared.metadata),
            _escape(_array(shared.tags)),
        ]
    )
    kinds = {kind: _escape(kind) for kind in {kind for kind, _ in chunk}}
    yield "".join(
        [
            f"{row[0]}\t{kinds[kind]}\t{before}\t{_escape(text)}\t{after}\n"
            for row, (kind, text) in zip(rows, chunk, strict=True)
        ]
    )


def _escape(text: str) -> str:
    text = text.replace("\\", "\\\\") if "\\" in text else text
    if "\t" in text or "\n" in text or "\r" in text:
        text = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return text


def _job(shared: _Shared, kind: str, text: str, row: tuple[Any, ...]) -> Job:
    return Job(
        row[0], kind, shared.queue, row[1], shared.priority, 0, shared.max_attempts, 0, text,
        shared.metadata, list(shared.tags), None, None, row[2], row[3],
    )  # fmt: skip


def _jobs(shared: _Shared, encoded: Sequence[tuple[str, str]], rows: Rows) -> list[Job]:
    return [
        _job(shared, kind, text, row)
        for (kind, text), row in zip(encoded, rows, strict=True)
    ]


def _shared(
    queue: str,
    priority: int,
    max_attempts: int,
    tags: Sequence[str] | None,
    metadata: Mapping[str, Any] | None,
    run_at: RunAt,
) -> _Shared:
    if not isinstance(queue, str) or len(queue) > _LONGEST_QUEUE or "\x00" in queue:
        raise ValidationError(f"queue must be text of at most {_LONGEST_QUEUE} characters")
    labels = _tags(tags)
    return _Shared(
        queue,
        _between("priority", priority, _PRIORITIES),
        _between("max_attempts", max_attempts, _ATTEMPTS),
        labels,
        "{}" if metadata is None else encode_object(metadata, name="metadata"),
        parse_run_at(run_at),
    )


def _between(name: str, value: object, bounds: tuple[int, int]) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValidationError(f"{name} must be an integer, got {value!r}")
    if not bounds[0] <= value <= bounds[1]:
        raise ValidationError(f"{name} must be {bounds[0]} to {bounds[1]}, got {value}")
    return value


def _tags(tags: Sequence[str] | None) -> list[str]:
    if not tags:
        return []
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise ValidationError(f"tags must be a list of texts, got {tags!r}")
    if len(tags) > _MOST_TAGS:
        raise ValidationError(f"at most {_MOST_TAGS} tags, got {len(tags)}")
    if any("\x00" in tag for tag in tags):
        raise ValidationError("tags must not hold NUL characters")
    return list(tags)


def parse_run_at(value: RunAt) -> datetime | None:
    """Read a time: a datetime or ISO 8601 text; naive means UTC.  Raises ValidationError."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, AttributeError):
        raise ValidationError(
            f"run_at must be a datetime or ISO 8601 text, got {value!r}",
            hint="for example 2026-11-23T21:30:00Z",
        ) from None


def _unique(options: UniqueOptions, kind: str, queue: str, text: str) -> tuple[str, str]:
    key = unique_key(
        kind,
        queue=queue if options.by_queue else None,
        args=json.loads(text) if options.by_args else ...,
        period=options.by_period,
    )
    return f'{{"\\\\x{key.hex()}"}}', f"{{{states_bits(options.states)}}}"


def _array(texts: Iterable[str]) -> str:
    """Write a Postgres array literal of texts."""
    quote: Callable[[str], str] = lambda t: '"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"'  # noqa: E731 - used once
    return "{" + ",".join(map(quote, texts)) + "}"
