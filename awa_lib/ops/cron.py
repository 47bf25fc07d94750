"""Schedules: declare, fire, trigger, pause, delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from awa_lib._json import dumps, loads
from awa_lib._sql import atomic, sql
from awa_lib.cron import CronExpression, check_settings
from awa_lib.enqueue.kinds import UNDECLARED, Kinds
from awa_lib.enqueue.middleware import through_middleware
from awa_lib.enqueue.new_jobs import check
from awa_lib.enqueue.options import NewJob
from awa_lib.errors import ScheduleNotFound, Transient
from awa_lib.models import Job
from awa_lib.validation import LONGEST_NAME, name_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = [
    "Due",
    "Fire",
    "Schedule",
    "apply_schedules",
    "declare",
    "delete_cron_job",
    "fire",
    "pause_cron_job",
    "read_schedules",
    "resume_cron_job",
    "trigger_cron_job",
]

Block = Literal["pause_schedule", "resume_schedule", "trigger_schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A checked schedule, with the columns of its row."""

    name: str
    cron_expr: str
    timezone: str
    kind: str
    queue: str
    args: str
    priority: int
    max_attempts: int
    tags: list[str]
    metadata: str
    missed_fire_policy: str
    catch_up_limit: int
    jitter_seconds: float

    @classmethod
    def build(
        cls,
        name: str,
        cron_expr: str,
        args: Any,
        kinds: Kinds = UNDECLARED,
        *,
        kind: str,
        timezone: str,
        queue: str | None,
        priority: int | None,
        max_attempts: int | None,
        tags: Sequence[str] | None,
        metadata: Mapping[str, Any] | None,
        missed_fire_policy: str,
        catch_up_limit: int,
        jitter_seconds: float,
    ) -> Schedule:
        """Check every field.  Raises ValidationError or SerializationError."""
        name_of("name", name)
        CronExpression(cron_expr, timezone)
        check_settings(missed_fire_policy, catch_up_limit, jitter_seconds)
        new = NewJob(
            args,
            kind=kind,
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            tags=tags,
            metadata=metadata,
        )
        jobs, _ = through_middleware([new], kinds, {})
        job = check(jobs, kinds=kinds, traced=False)
        return cls(
            name=name,
            cron_expr=cron_expr,
            timezone=timezone,
            kind=job.kinds[0],
            queue=job.options.queue,
            args=job.args[0],
            priority=job.options.priority,
            max_attempts=job.options.max_attempts,
            tags=job.options.tags,
            metadata=job.options.metadata,
            missed_fire_policy=missed_fire_policy,
            catch_up_limit=catch_up_limit,
            jitter_seconds=float(jitter_seconds),
        )


@dataclass(frozen=True, slots=True)
class Due:
    """The columns of a schedule that are needed to find its fires."""

    name: str
    cron_expr: str
    timezone: str
    kind: str
    queue: str
    priority: int
    max_attempts: int
    tag_count: int
    metadata_type: str
    last_enqueued_at: datetime | None
    created_at: datetime
    times_readable: bool
    missed_fire_policy: str
    catch_up_limit: int
    jitter_seconds: float
    version: str
    """Another value now means that the row was changed."""
    now: datetime
    """The database's clock."""


@dataclass(frozen=True, slots=True)
class Fire:
    """Fires of a schedule to enqueue, oldest first, each with the time when its job may run."""

    name: str
    seen: datetime | None
    """last_enqueued_at as it was read; another value now means that another leader was faster."""
    fires: tuple[tuple[datetime, datetime], ...]
    version: str | None = None
    """The version of the row that was read, if it matters."""


def declare(schedules: Sequence[Schedule], *, fresh: bool, living: bool = True) -> Op[list[str]]:
    """Write schedules; ``fresh`` at the start of a process, when deleted schedules come back.

    Schedules that are not ``living`` belong to no process.  Returns the names of schedules that
    another transaction has locked, which were not written.
    """
    rows = [
        {
            **{name: getattr(schedule, name) for name in Schedule.__slots__},
            "args": loads(schedule.args),
            "metadata": loads(schedule.metadata),
        }
        for schedule in schedules
    ]
    busy = yield sql.cron("declare_schedules", schedules=dumps(rows), fresh=fresh, living=living)
    return [name for (name,) in busy]


@atomic
def apply_schedules(
    schedules: Sequence[Schedule],
    *,
    pause: Sequence[str],
    resume: Sequence[str],
    remove: Sequence[str],
    paused_by: str | None = None,
) -> Op[None]:
    """Write schedules that no process declares, and pause, resume and delete others, all or none.

    Raises ScheduleNotFound, or Transient when another transaction has locked a schedule.
    """
    if schedules and (busy := (yield from declare(schedules, fresh=True, living=False))):
        raise Transient(
            f"the schedule {busy[0]!r} is locked",
            why="an open transaction changes it",
            hint="try again when that transaction has ended",
        )
    for name in pause:
        yield from pause_cron_job(name, paused_by)
    for name in resume:
        yield from resume_cron_job(name)
    for name in remove:
        yield from delete_cron_job(name)


def read_schedules() -> Op[list[Due]]:
    """Return every schedule that is not paused, by name."""
    rows = yield sql.cron("read_schedules")
    return rows.into(Due)


def fire(due: Sequence[Fire]) -> Op[int]:
    """Enqueue fires and advance each schedule; return how many.

    Schedules that another leader has fired, that were changed, paused or deleted since they were
    read, or that are locked, are skipped.
    """
    flat = [(schedule.name, *pair) for schedule in due for pair in schedule.fires]
    rows = yield sql.cron(
        "fire_schedules",
        names=[schedule.name for schedule in due],
        seen=[schedule.seen for schedule in due],
        newest=[schedule.fires[-1][0] for schedule in due],
        versions=[schedule.version for schedule in due],
        fire_names=[name for name, _, _ in flat],
        fire_ats=[fire_at for _, fire_at, _ in flat],
        run_ats=[run_at for _, _, run_at in flat],
    )
    return int(rows.scalar())


def trigger_cron_job(name: str) -> Op[Job]:
    """Enqueue the job of a schedule now, in addition to its fires, and return it.

    Its metadata holds ``cron_name`` and ``triggered_manually``.  Works while paused.  Raises
    ScheduleNotFound or ValidationError.
    """
    rows = yield sql.cron("trigger_schedule", name=name_of("name", name))
    if not rows:
        raise (yield from _missing(name))
    return rows.into(Job)[0]


def pause_cron_job(name: str, paused_by: str | None = None) -> Op[None]:
    """Stop a schedule from firing until it is resumed.  Idempotent.

    Leaders of awa 0.5 ignore the pause.  Raises ScheduleNotFound or ValidationError.
    """
    if paused_by is not None:
        text_of("paused_by", paused_by, LONGEST_NAME)
    rows = yield sql.cron("pause_schedule", name=name_of("name", name), paused_by=paused_by)
    if not rows:
        raise (yield from _missing(name))


def resume_cron_job(name: str) -> Op[None]:
    """Resume a schedule: it fires again from now on.  Idempotent.

    Raises ScheduleNotFound or ValidationError.
    """
    rows = yield sql.cron("resume_schedule", name=name_of("name", name))
    if not rows:
        raise (yield from _missing(name))


def delete_cron_job(name: str) -> Op[bool]:
    """Delete a schedule; return False when it does not exist.

    It comes back when a process that declares it starts, not before.  A leader of awa 0.5 that
    declares it writes it again within a minute.  Raises ValidationError.
    """
    rows = yield sql.cron("delete_schedule", name=name_of("name", name))
    return bool(rows)


def _missing(name: str) -> Op[ScheduleNotFound]:
    rows = yield sql.cron("removed_at", name=name)
    return ScheduleNotFound(name, rows.scalar() if rows else None)
