"""Jobs to be inserted: checked, encoded and written in the text formats of PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import loads
from awa_lib.codec import pgtext
from awa_lib.codec.encode import encode
from awa_lib.codec.pgtext import int_array
from awa_lib.enqueue.kinds import UNDECLARED, Kinds
from awa_lib.enqueue.options import (
    CONCURRENCY_KEY,
    NewJob,
    Options,
    checked,
    checked_of,
    complete,
    merged,
)
from awa_lib.enqueue.unique import states_bits, unique_key
from awa_lib.models import Job, JobState
from awa_lib.telemetry.tracing import TRACEPARENT, traceparent
from awa_lib.validation import (
    LONGEST_NAME,
    items_of,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Unpack

    from awa_lib.enqueue.options import InsertOptions

__all__ = ["NewJobs", "alike", "check", "check_one", "hold"]

_REMEMBERED: Final = {"kind", "queue", "priority", "max_attempts"}
_MOST_REMEMBERED: Final = 1000
# Shared by the tasks of a large workflow, which are in memory at once.
_NO_KEYS: Final[list[bytes | None]] = []


@dataclass(frozen=True, slots=True)
class NewJobs:
    """Checked jobs, with shared options or options of their own."""

    args: list[str]
    kinds: list[str]
    unique_keys: list[bytes | None]
    """Empty when no job is unique."""
    options: Options
    own: list[Options] | None = None

    @classmethod
    def merge(cls, parts: Sequence[NewJobs]) -> NewJobs:
        """Join jobs, in order."""
        first = parts[0]
        alike = all(part.own is None and part.options == first.options for part in parts)
        unique = any(part.unique_keys for part in parts)
        return cls(
            [args for part in parts for args in part.args],
            [kind for part in parts for kind in part.kinds],
            [key for part in parts for key in part.unique_keys or [None] * len(part.args)]
            if unique
            else [],
            first.options,
            None
            if alike
            else [one for part in parts for one in part.own or [part.options] * len(part.args)],
        )

    def kinds_and_queues(self) -> Iterator[tuple[str, str]]:
        """Return the kind and the queue of each job."""
        if self.own is None:
            return zip(self.kinds, repeat(self.options.queue))
        return zip(self.kinds, (one.queue for one in self.own), strict=True)

    @property
    def immediate(self) -> bool:
        """Return True for jobs of one kind with shared options that are available at once."""
        return (
            self.own is None
            and not self.unique_keys
            and self.options.run_at is None
            and not self.options.delay
            and (len(self.kinds) == 1 or len(set(self.kinds)) == 1)
        )

    def slice(self, start: int, end: int) -> NewJobs:
        """Return some of the jobs."""
        return NewJobs(
            self.args[start:end],
            self.kinds[start:end],
            self.unique_keys[start:end],
            self.options,
            None if self.own is None else self.own[start:end],
        )

    def pick(self, places: Sequence[int]) -> NewJobs:
        """Return the jobs at these places."""
        return NewJobs(
            [self.args[place] for place in places],
            [self.kinds[place] for place in places],
            [self.unique_keys[place] for place in places],
            self.options,
            None if self.own is None else [self.own[place] for place in places],
        )

    def key_order(self) -> list[int]:
        """Return the places in the order in which unique keys are claimed.

        Jobs without a key come last; jobs with the same key keep their order.
        """
        keys = self.unique_keys
        return sorted(range(len(keys)), key=lambda place: (keys[place] is None, keys[place] or b""))

    def _args(self) -> str:
        return "[" + ",".join(self.args) + "]"

    def immediate_params(self) -> dict[str, Any]:
        """Return the parameters of insert_available; args of one job are those of insert_one."""
        options = self.options
        return {
            "args": self.args[0] if len(self.args) == 1 else self._args(),
            "kind": self.kinds[0],
            "queue": options.queue,
            "priority": options.priority,
            "max_attempts": options.max_attempts,
            "metadata": options.metadata,
            "tags": pgtext.text_array(options.tags),
        }

    def params(self, ids: Sequence[int] = ()) -> dict[str, Any]:
        """Return the parameters of insert_jobs; a value that all jobs share is sent once.

        ``ids`` are reserved ids; by default ids are made in the order of the jobs.
        """
        options, kind = self.options, self.kinds[0]
        mixed = any(other != kind for other in self.kinds)
        shared = {
            "kind": kind,
            "queue": options.queue,
            "priority": options.priority,
            "max_attempts": options.max_attempts,
            "run_at": options.run_at,
            "delay": options.delay,
            "metadata": options.metadata,
            "tags": pgtext.text_array(options.tags),
            "ids": int_array(ids),
        }
        if self.own is not None:
            # A job without a time of its own runs now, whatever the first job does.
            return self.columns(ids) | shared | {"run_at": None, "delay": None}
        bits = "" if options.unique is None else states_bits(options.unique.states)
        return shared | {
            "args": self._args(),
            "kinds": pgtext.text_array(self.kinds) if mixed else "{}",
            "queues": "{}",
            "priorities": "{}",
            "max_attempts_each": "{}",
            "run_ats": "{}",
            "delays": "{}",
            "metadata_each": "[]",
            "tags_each": "{}",
            "unique_keys": _byte_array(self.unique_keys),
            "unique_states_each": pgtext.repeated_array(bits, len(self.unique_keys)),
        }

    def columns(self, ids: Sequence[int] = ()) -> dict[str, Any]:
        """Return every column of every job as an array; ``ids`` as in ``params``."""
        own = self.own or [self.options] * len(self.args)
        keys = self.unique_keys or [None] * len(self.args)
        return {
            "args": self._args(),
            "kinds": pgtext.text_array(self.kinds),
            "queues": pgtext.text_array(one.queue for one in own),
            "priorities": pgtext.text_array(str(one.priority) for one in own),
            "max_attempts_each": pgtext.text_array(str(one.max_attempts) for one in own),
            "run_ats": pgtext.nullable_array(
                None if one.run_at is None else one.run_at.isoformat() for one in own
            ),
            "delays": pgtext.nullable_array(
                None if one.delay is None else repr(one.delay) for one in own
            ),
            "metadata_each": "[" + ",".join(one.metadata for one in own) + "]",
            "tags_each": pgtext.text_array(pgtext.text_array(one.tags) for one in own),
            "unique_keys": _byte_array(keys),
            "unique_states_each": pgtext.nullable_array(
                None if one.unique is None else states_bits(one.unique.states) for one in own
            ),
            "ids": int_array(ids),
        }

    def jobs(self, ids: Sequence[int], now: datetime) -> list[Job]:
        """Build the jobs from what was sent, their ids and the database's time of the insert."""
        if self.own is not None:
            return [
                _job(job_id, kind, args, options, now)
                for job_id, kind, args, options in zip(
                    ids, self.kinds, self.args, self.own, strict=True
                )
            ]
        options = self.options
        run_at = options.starts(now)
        state = JobState.Scheduled if run_at > now else JobState.Available
        return [
            Job(
                job_id,
                kind,
                options.queue,
                state,
                options.priority,
                0,
                options.max_attempts,
                0,
                args,
                options.metadata,
                options.tags.copy(),
                None,
                None,
                run_at,
                now,
            )
            for job_id, kind, args in zip(ids, self.kinds, self.args, strict=True)
        ]


def _job(job_id: int, kind: str, args: str, options: Options, now: datetime) -> Job:
    run_at = options.starts(now)
    return Job(
        job_id,
        kind,
        options.queue,
        JobState.Scheduled if run_at > now else JobState.Available,
        options.priority,
        0,
        options.max_attempts,
        0,
        args,
        options.metadata,
        options.tags.copy(),
        None,
        None,
        run_at,
        now,
    )


def _byte_array(keys: Sequence[bytes | None]) -> str:
    return pgtext.nullable_array(None if key is None else "\\x" + key.hex() for key in keys)


def check(
    jobs: Iterable[Any],
    *,
    kinds: Kinds = UNDECLARED,
    traced: bool = True,
    **options: Unpack[InsertOptions],
) -> NewJobs:
    """Check and encode jobs; ``traced`` jobs store the current span.

    An option that is not given is that declared for the kind.  Raises as ``ops.inserts.insert``.
    """
    given = complete(options)
    kind, metadata = given["kind"], given["metadata"]
    extra = {
        CONCURRENCY_KEY: given["concurrency_key"],
        TRACEPARENT: traceparent() if traced else None,
    }
    shared = checked(given, extra)
    of_kind: dict[str, Options] = {}

    def of(args: Any, own: str | None = None) -> tuple[str, Options]:
        name = text_of("kind", kinds.name_of(args, own or kind), LONGEST_NAME)
        if name not in of_kind:
            declared = kinds.options(name)
            of_kind[name] = (
                checked(complete(merged(declared, options)), extra) if declared else shared
            )
        return name, of_kind[name]

    items = list(items_of("jobs", jobs))
    if alike(items):
        name, own = of(items[0])
        return _assemble([name] * len(items), list(map(encode, items)), [own] * len(items), own)
    known: dict[type, tuple[str, Options]] = {}
    names: list[str] = []
    texts: list[str] = []
    each: list[Options] = []
    for item in items:
        args, owner = item, type(item)
        if owner is NewJob:
            name, own = of(args := item.args, item.kind)
            own = checked_of(item, own, metadata, extra)
        elif owner in known:
            name, own = known[owner]
        else:
            name, own = known[owner] = of(args)
        each.append(own)
        names.append(name)
        texts.append(encode(args))
    return _assemble(names, texts, each, shared)


def alike(items: Sequence[Any]) -> bool:
    """Return whether jobs have one type, and so one kind, and no options of their own."""
    types = set(map(type, items))
    return len(types) == 1 and NewJob not in types


def check_one(args: Any, *, kinds: Kinds = UNDECLARED, **options: Unpack[InsertOptions]) -> NewJobs:
    """Check and encode one job.  Raises as ``check``.

    The outcome for a type of args and options that are names and numbers is remembered: to check
    them again takes a sixth of the client's time for an insert.
    """
    known = kinds.known
    key = None
    if options.keys() <= _REMEMBERED:
        key = (type(args), *options.items(), *map(type, options.values()))
        found = known.get(key)
        if found is not None and traceparent() is None:
            return NewJobs([encode(args)], found[0], _NO_KEYS, found[1])
    new = check([args], kinds=kinds, **options)
    plain = key is not None and type(args) is not NewJob and not new.unique_keys
    if plain and len(known) < _MOST_REMEMBERED and traceparent() is None:
        known[key] = new.kinds, new.options  # type: ignore[index] # plain
    return new


def _assemble(names: list[str], texts: list[str], each: list[Options], shared: Options) -> NewJobs:
    if each:
        shared = each[0]
    # Equal ones too: an insert middleware may give each job the same options.
    alike = len(set(map(id, each))) <= 1 or all(one == shared for one in each)
    keys: list[bytes | None] = []
    if any(one.unique for one in ([shared] if alike else each)):
        keys = [_key(one, name, text) for one, name, text in zip(each, names, texts, strict=True)]
    return NewJobs(texts, names, keys, shared, None if alike else each)


def hold(job: Job, args: Any) -> None:
    """Let an inserted job hold the args that were given; a dict is read from what was sent."""
    if isinstance(args, NewJob):
        args = args.args
    if not isinstance(args, dict):
        job._args = args  # noqa: SLF001 - as a handler gets them


def _key(options: Options, kind: str, text: str) -> bytes | None:
    # Hashed from the JSON data that is sent, so that every writer of the same args agrees.
    unique = options.unique
    if unique is None:
        return None
    return unique_key(
        kind,
        queue=options.queue if unique.by_queue else None,
        args=unique.args(loads(text)) if unique.by_args else ...,
        period=unique.by_period,
    )
