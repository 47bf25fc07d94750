"""Operations on the tables of the demo."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_lib._json import dumps, loads
from awa_lib._sql import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op

__all__ = ["Found", "Language", "Report", "Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of the files of a run."""

    files: int
    unreadable: int
    bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class Language:
    """Totals of the files of one language."""

    language: str
    files: int
    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class JobTotals:
    """Totals of the jobs of a run."""

    jobs: int
    completed: int
    failed: int
    attempts: int
    retried: int
    rescued: int


@dataclass(frozen=True, slots=True)
class Found:
    """The data of the final table, read from the database."""

    files: Totals
    largest: dict[str, Any] | None
    duplicates: dict[str, int]
    languages: list[Language]
    jobs: JobTotals
    survey: dict[str, Any] | None
    announce: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Report(Found):
    """The data of the final table, with the folder and the elapsed time."""

    elapsed_seconds: float
    tree: str


def store_path(path: str) -> str:
    r"""Encode a file name as valid text; undecodable bytes become ``\xNN``.

    >>> store_path("a\udcffb")
    'a\\xffb'
    """
    escaped = path.replace("\\", "\\\\")
    return os.fsencode(escaped).decode("utf-8", "backslashreplace")


def restore_path(text: str) -> str:
    r"""Decode a file name that ``store_path`` encoded.

    >>> restore_path("a\\xffb") == "a\udcffb"
    True
    """
    if "\\" not in text:
        return text
    raw, data = bytearray(), text.encode()
    index = 0
    while index < len(data):
        if data[index : index + 1] != b"\\":
            raw.append(data[index])
            index += 1
        elif data[index + 1 : index + 2] == b"\\":
            raw += b"\\"
            index += 2
        else:
            raw.append(int(data[index + 2 : index + 4], 16))
            index += 4
    return os.fsdecode(bytes(raw))


def prepare() -> Op[int]:
    """Create the tables, delete earlier runs, and return the highest job id so far."""
    yield sql.demo("create_schema")
    yield sql.demo("create_files")
    yield sql.demo("create_notes")
    yield sql.demo("forget_runs")
    rows = yield sql.demo("last_job")
    return int(rows.scalar())


def add_files(run: str, first: int, paths: Sequence[str]) -> Op[None]:
    """Insert the rows of the application for some files."""
    yield sql.demo("add_files", run=run, first=first, paths=list(paths))


def store_file(
    run: str, number: int, *, size: int, lines: int, digest: bytes, language: str
) -> Op[None]:
    """Store the result of a job."""
    yield sql.demo(
        "store_file",
        run=run,
        number=number,
        bytes=size,
        lines=lines,
        digest=digest,
        language=language,
    )


def store_note(run: str, name: str, value: dict[str, Any]) -> Op[None]:
    """Store the result of one of the single jobs."""
    yield sql.demo("store_note", run=run, name=name, value=dumps(value))


def states(after: int, queues: Sequence[str]) -> Op[dict[str, int]]:
    """Count the jobs of a run by state."""
    rows = yield sql.demo("states", after=after, queues=list(queues))
    return dict(rows)


def found(run: str, after: int, queues: Sequence[str], languages: int = 8) -> Op[Found]:
    """Return the data of the final table."""
    files = yield sql.demo("files_found", run=run)
    largest = yield sql.demo("largest_file", run=run)
    same = yield sql.demo("duplicates", run=run)
    spoken = yield sql.demo("languages", run=run, limit=languages)
    jobs = yield sql.demo("jobs_found", after=after, queues=list(queues))
    survey = yield from _note(run, "survey")
    announce = yield from _note(run, "announce")
    return Found(
        files=files.into(Totals)[0],
        largest=largest.into(dict)[0] if largest else None,
        duplicates=same.into(dict)[0],
        languages=spoken.into(Language),
        jobs=jobs.into(JobTotals)[0],
        survey=survey,
        announce=announce,
    )


def _note(run: str, name: str) -> Op[dict[str, Any] | None]:
    rows = yield sql.demo("note", run=run, name=name)
    return loads(rows.scalar()) if rows else None
