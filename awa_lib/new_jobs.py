"""Jobs about to be inserted: checked, encoded, and written as Postgres takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from awa_lib import pgtext
from awa_lib._json import loads
from awa_lib.args import encode, encode_object
from awa_lib.errors import ValidationError
from awa_lib.kinds import kind_of
from awa_lib.models import Job, JobState
from awa_lib.unique import UniqueOptions, states_bits, unique_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["NewJobs", "check", "moment_of", "number_of", "text_of"]

# Rows of one block of COPY text.
_BLOCK: Final = 1000
_LONGEST_NAME: Final = 200
_MOST_TAGS: Final = 20
_PRIORITIES: Final = (1, 4)
_ATTEMPTS: Final = (1, 1000)
_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class NewJobs:
    """Checked jobs that differ in args, kind and unique key only."""

    args: list[str]
    kinds: list[str]
    queue: str
    priority: int
    max_attempts: int
    tags: list[str]
    metadata: str
    run_at: datetime | None
    unique_keys: list[bytes]
    unique_states: str

    def slice(self, start: int, end: int) -> NewJobs:
        """Return some of the jobs."""
        return NewJobs(
            self.args[start:end], self.kinds[start:end], self.queue, self.priority,
            self.max_attempts, self.tags, self.metadata, self.run_at,
            self.unique_keys[start:end], self.unique_states,
        )  # fmt: skip

    def params(self) -> dict[str, Any]:
        """Return the parameters of insert_jobs; one kind for all travels as a scalar."""
        kind = self.kinds[0]
        mixed = any(other != kind for other in self.kinds)
        count = len(self.unique_keys)
        return {
            "args": "[" + ",".join(self.args) + "]",
            "kind": kind,
            "kinds": pgtext.text_array(self.kinds) if mixed else "{}",
            "queue": self.queue,
            "queues": "{}",
            "priority": self.priority,
            "priorities": "{}",
            "max_attempts": self.max_attempts,
            "max_attempts_each": "{}",
            "run_at": self.run_at,
            "run_ats": "{}",
            "metadata": self.metadata,
            "metadata_each": "[]",
            "tags": pgtext.text_array(self.tags),
            "tags_each": "{}",
            "unique_keys": pgtext.bytea_array(self.unique_keys),
            "unique_states_each": pgtext.repeated_array(self.unique_states, count),
        }

    def jobs(self, ids: Sequence[int], now: datetime) -> list[Job]:
        """Build the jobs from what was sent, their ids and the database's time of the insert."""
        run_at = self.run_at or now
        state = JobState.Scheduled if run_at > now else JobState.Available
        return [
            Job(
                job_id, kind, self.queue, state, self.priority, 0, self.max_attempts, 0, args,
                self.metadata, self.tags.copy(), None, None, run_at, now,
            )
            for job_id, kind, args in zip(ids, self.kinds, self.args, strict=True)
        ]  # fmt: skip

    def copy_text(self, ids: Sequence[int], run_at: datetime) -> Iterator[str]:
        """Yield COPY rows of the jobs, ``_BLOCK`` a block."""
        before = {
            kind: f"\t{pgtext.copy_field(kind)}\t{pgtext.copy_field(self.queue)}\t"
            for kind in set(self.kinds)
        }
        after = "\t".join((
            "", str(self.priority), str(self.max_attempts), run_at.isoformat(),
            pgtext.copy_json(self.metadata), pgtext.copy_field(pgtext.text_array(self.tags)),
        )) + "\n"  # fmt: skip
        for start in range(0, len(ids), _BLOCK):
            end = start + _BLOCK
            yield "".join(
                [
                    f"{job_id}{before[kind]}{pgtext.copy_json(args)}{after}"
                    for job_id, kind, args in zip(
                        ids[start:end], self.kinds[start:end], self.args[start:end], strict=True
                    )
                ]
            )


def check(
    jobs: Iterable[Any],
    kind: str | None,
    queue: str,
    priority: int,
    max_attempts: int,
    tags: Sequence[str] | None,
    metadata: Mapping[str, Any] | None,
    run_at: datetime | str | None,
    unique_opts: Mapping[str, Any] | None,
) -> NewJobs:
    """Check and encode jobs that share their options.  Raises as ``ops.inserts.insert``."""
    known: dict[type, str] = {}
    kinds: list[str] = []
    texts: list[str] = []
    for args in jobs:
        owner = type(args)
        if owner not in known:
            known[owner] = text_of("kind", kind_of(args, kind), _LONGEST_NAME)
        kinds.append(known[owner])
        texts.append(encode(args))
    queue = text_of("queue", queue, _LONGEST_NAME)
    options = None if unique_opts is None else UniqueOptions.parse(unique_opts)
    return NewJobs(
        args=texts,
        kinds=kinds,
        queue=queue,
        priority=number_of("priority", priority, *_PRIORITIES),
        max_attempts=number_of("max_attempts", max_attempts, *_ATTEMPTS),
        tags=_tags(tags),
        metadata="{}" if metadata is None else encode_object(metadata, name="metadata"),
        run_at=None if run_at is None else moment_of(run_at),
        unique_keys=[] if options is None else _keys(options, kinds, queue, texts),
        unique_states="" if options is None else states_bits(options.states),
    )


def _keys(
    options: UniqueOptions, kinds: Sequence[str], queue: str, texts: Sequence[str]
) -> list[bytes]:
    # Hashed from the JSON data that is sent, so that every writer of the same args agrees.
    return [
        unique_key(
            kind,
            queue=queue if options.by_queue else None,
            args=loads(text) if options.by_args else ...,
            period=options.by_period,
        )
        for kind, text in zip(kinds, texts, strict=True)
    ]


def text_of(field: str, value: object, longest: int) -> str:
    """Return a text that Postgres can store.  Raises ValidationError."""
    if not isinstance(value, str) or len(value) > longest:
        raise ValidationError(f"{field} must be text of at most {longest} characters: {value!r}")
    if not _storable(value):
        raise ValidationError(
            f"{field} holds a character that Postgres cannot store: {value!r}",
            why="NUL characters and lone surrogates are not text there",
        )
    return value


def _storable(text: str) -> bool:
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def number_of(field: str, value: object, least: int, most: int) -> int:
    """Return a whole number within bounds, both inclusive.  Raises ValidationError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValidationError(f"{field} must be a whole number from {least} to {most}: {value!r}")
    return int(value)


def _tags(tags: object) -> list[str]:
    if tags is None:
        return []
    if not isinstance(tags, list | tuple | set | frozenset):
        raise ValidationError(f"tags must be a list of texts: {tags!r}")
    if len(tags) > _MOST_TAGS:
        raise ValidationError(f"tags must be {_MOST_TAGS} at most, got {len(tags)}: {tags!r}")
    for tag in tags:
        if not isinstance(tag, str) or not _storable(tag):
            raise ValidationError(f"tags must be texts without NUL characters: {tag!r}")
    return list(tags)


def moment_of(value: object, field: str = "run_at") -> datetime:
    """Return a time in UTC, of a datetime or RFC 3339 text.  Raises ValidationError."""
    moment = value
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper())
        except ValueError:  # the shape is right, the date does not exist
            moment = value
    if isinstance(moment, datetime):
        try:
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except OverflowError:
            pass
    raise ValidationError(
        f"{field} must be a datetime or RFC 3339 text: {value!r}",
        hint="for example 2030-01-31T08:00:00Z; without an offset it is UTC",
    )
