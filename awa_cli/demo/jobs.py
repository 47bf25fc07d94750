"""The jobs of the demo, which read files.  An application has a module like this."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awa_cli.demo import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    import awa_lib as awa

    Store = Callable[[Any], None]

__all__ = ["FILES", "LARGE", "QUEUES", "Announce", "MeasureFile", "ReadLocked", "SurveyTree"]

FILES: Final = "demo-files"
LARGE: Final = "demo-large"
QUEUES: Final = (FILES, LARGE)
# Steps of the job with checkpoints, and its pause after each, so that its progress is visible.
STEPS: Final = 50
_STEP_SECONDS: Final = 0.08
_BLOCK: Final = 1 << 20
_LANGUAGES: Final = {
    ".py": "Python",
    ".pyc": "Python bytecode",
    ".pyi": "Python",
    ".c": "C",
    ".h": "C",
    ".cpp": "C++",
    ".rs": "Rust",
    ".go": "Go",
    ".js": "JavaScript",
    ".ts": "TypeScript",
    ".html": "HTML",
    ".css": "CSS",
    ".json": "JSON",
    ".toml": "TOML",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".md": "Markdown",
    ".rst": "reStructuredText",
    ".txt": "Text",
    ".sql": "SQL",
    ".sh": "Shell",
    ".bat": "Batch",
    ".tcl": "Tcl",
    ".xml": "XML",
    ".so": "Shared library",
    ".a": "Static library",
    ".o": "Object",
    ".exe": "Executable",
    ".zip": "Archive",
    ".gz": "Archive",
    ".whl": "Archive",
    ".png": "Image",
    ".gif": "Image",
    ".pem": "Certificate",
}


@dataclass
class MeasureFile:
    """Measure one file: digest, size, lines and language."""

    run: str
    number: int
    path: str


@dataclass
class ReadLocked:
    """Read a file that does not exist at first."""

    run: str
    path: str


@dataclass
class SurveyTree:
    """Count files by suffix, in steps with a checkpoint after each."""

    run: str
    root: str


@dataclass
class Announce:
    """Run at a scheduled time, and store the delay."""

    run: str
    due: datetime


def language_of(path: str) -> str:
    """Return the language of a file by its suffix."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - faster, for thousands of files
    return _LANGUAGES.get(suffix, suffix.removeprefix(".").upper() or "(no suffix)")


def measure(path: str) -> tuple[int, int, bytes]:
    """Return bytes, newlines and SHA-256 of a file.  Raises OSError."""
    digest, size, lines = hashlib.sha256(), 0, 0
    with open(path, "rb") as file:  # noqa: PTH123 - keeps undecodable names
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
            lines += block.count(b"\n")
    return size, lines, digest.digest()


def walk(root: str) -> list[str]:
    """Return every regular file below a folder, or the file itself; links are not followed.

    Names that are not UTF-8 hold surrogates.  site-packages is left out of Python's own library.
    """
    if Path(root).is_file():
        return [root]
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in {"site-packages", "dist-packages"})
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118 - faster, for thousands of files
            if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114 - as above
                found.append(path)
    return found


def register(client: awa.AsyncClient, store: Store) -> None:
    """Register the handlers; ``store`` runs an op of the demo's tables."""

    @client.task(MeasureFile, queue=FILES)
    def measure_file(job: awa.Job) -> None:
        args = job.args
        path = tables.restore_path(args.path)
        size, lines, digest = measure(path)
        language = language_of(path)
        op = tables.store_file(
            args.run, args.number, size=size, lines=lines, digest=digest, language=language
        )
        store(op)

    @client.task(ReadLocked, queue=LARGE)
    def read_locked(job: awa.Job) -> None:
        measure(job.args.path)

    @client.task(Announce, queue=FILES)
    async def announce(job: awa.Job) -> None:
        late = (datetime.now(UTC) - job.args.due).total_seconds()
        store(tables.store_note(job.args.run, "announce", {"late_seconds": round(late, 3)}))

    @client.task(SurveyTree, queue=LARGE)
    def survey_tree(job: awa.Job) -> None:
        survey(job, store)


def survey(job: awa.Job, store: Store) -> None:
    """Continue after the last checkpoint; a killed worker loses at most one step."""
    done = dict((job.progress or {}).get("metadata") or {})
    first = int(done.get("step", 0))
    suffixes: Counter[str] = Counter(done.get("suffixes", {}))
    paths = walk(job.args.root)
    for step in range(first, STEPS):
        suffixes.update(language_of(path) for path in paths[step::STEPS])
        job.set_progress((step + 1) * 100 // STEPS, f"step {step + 1} of {STEPS}")
        job.update_metadata({"step": step + 1, "suffixes": dict(suffixes), "pid": os.getpid()})
        job.flush_progress_sync()
        time.sleep(_STEP_SECONDS)
    value = {
        # The attempt of a killed worker leaves an error, but is not counted.
        "attempts": 1 + len(job.errors),
        "files": suffixes.total(),
        "resumed_at_percent": first * 100 // STEPS,
        "languages": len(suffixes),
    }
    store(tables.store_note(job.args.run, "survey", value))
