"""Answers that completion got before, so that the Tab key need not wait for the database.

Loading the driver takes 100 ms and a database far away several round trips.  What was answered
before is offered at once, while a process of its own asks anew for the next Tab.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["recall"]

# Seconds in which an answer is not asked for again, and after which a question is given up.
_FRESH: Final = 2
_GIVE_UP: Final = 10
_DAY: Final = 86_400
_PASSWORD: Final = re.compile(r"(?<=:)[^@/]+(?=@)|password=('[^']*'|[^&\s]*)")


def recall(
    question: Sequence[str], ask: Callable[[], list[Any]], *, keep: float, wait: float
) -> list[Any]:
    """Return the answer of less than ``keep`` seconds ago, or else what comes within ``wait``.

    An error of ``ask`` is no answer: what was known before stays.
    """
    if not hasattr(os, "fork"):
        return ask()
    path = _directory() / _name(question)
    age, known = _read(path)
    if known is not None and age < _FRESH:
        return known
    answered = _ask_apart(path, ask)
    try:
        if known is not None and age < keep:
            return known
        import select

        select.select([answered], [], [], wait)
        age, known = _read(path)
        return known if known is not None and age < _FRESH else []
    finally:
        os.close(answered)


def _directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awa" / "completion"


def _name(question: Sequence[str]) -> str:
    """Name the file of a question, asked of the database that the environment names too.

    No hash of a password is kept.
    """
    named = [
        f"{name}={text}" for name, text in sorted(os.environ.items())
        if name in {"DATABASE_URL", "AWA_CONFIG", "XDG_CONFIG_HOME"}
        or (name.startswith("PG") and name != "PGPASSWORD")
    ]  # fmt: skip
    said = _PASSWORD.sub("", "\0".join([*question, "", *named]))
    return hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()[:32]


def _read(path: Path) -> tuple[float, list[Any] | None]:
    """Return the age of an answer in seconds, and the answer if there is one."""
    try:
        age = time.time() - path.stat().st_mtime
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return 0.0, None
    return age, found if isinstance(found, list) else None


def _ask_apart(path: Path, ask: Callable[[], list[Any]]) -> int:
    """Ask in a process of its own; return a descriptor that is readable when it has ended."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        return reader
    try:
        # The shell waits until the last holder of its pipe has gone.
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        _end_after(_GIVE_UP)
        with suppress(Exception):
            _write(path, ask())
    finally:
        os._exit(0)


def _end_after(seconds: int) -> None:
    """Let the process die then: a lookup of a host name heeds no timeout."""
    import signal

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)


def _write(path: Path, answer: list[Any]) -> None:
    import tempfile

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in path.parent.iterdir():
        if time.time() - old.stat().st_mtime > _DAY:
            old.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(answer, file)
    Path(file.name).replace(path)
