"""A cache for completion, so that the Tab key need not wait for the database.

Loading the driver takes 100 ms, and a distant database several round trips.  A cached answer is
used at once, while a separate process asks again for the next Tab.
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

# An answer of this age is not asked for again.
_FRESH_SECONDS: Final = 2
_ASK_SECONDS: Final = 10
_DELETE_SECONDS: Final = 86_400
_PASSWORD: Final = re.compile(r"(?<=:)[^@/]+(?=@)|password=('[^']*'|[^&\s]*)")


def recall(
    question: Sequence[str], ask: Callable[[], list[Any]], *, keep: float, wait: float
) -> list[Any]:
    """Return the cached answer if it is younger than ``keep`` seconds, else wait for a new answer.

    ``wait`` is the limit in seconds.  If ``ask`` fails, the cached answer stays.
    """
    if not hasattr(os, "fork"):
        return ask()
    path = _directory() / _name(question)
    age, known = _read(path)
    if known is not None and age < _FRESH_SECONDS:
        return known
    answered = _ask_apart(path, ask)
    try:
        if known is not None and age < keep:
            return known
        import select

        select.select([answered], [], [], wait)
        age, known = _read(path)
        return known if known is not None and age < _FRESH_SECONDS else []
    finally:
        os.close(answered)


def _directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awa" / "completion"


def _name(question: Sequence[str]) -> str:
    """Return the name of the file for a question and the database that the environment names.

    The name depends on no password.
    """
    named = [
        f"{name}={text}"
        for name, text in sorted(os.environ.items())
        if name in {"DATABASE_URL", "AWA_CONFIG", "XDG_CONFIG_HOME"}
        or (name.startswith("PG") and name != "PGPASSWORD")
    ]
    text = _PASSWORD.sub("", "\0".join([*question, "", *named]))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def _read(path: Path) -> tuple[float, list[Any] | None]:
    """Return the age of a cached answer in seconds, and the answer or None."""
    try:
        age = time.time() - path.stat().st_mtime
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return 0.0, None
    return age, found if isinstance(found, list) else None


def _ask_apart(path: Path, ask: Callable[[], list[Any]]) -> int:
    """Ask in a separate process; return a descriptor that is readable once the process ends."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        return reader
    try:
        # The shell waits until every process has closed its pipe.
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        _end_after(_ASK_SECONDS)
        with suppress(Exception):
            _write(path, ask())
    finally:
        os._exit(0)


def _end_after(seconds: int) -> None:
    """End the process after a time: no timeout interrupts the lookup of a host name."""
    import signal

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)


def _write(path: Path, answer: list[Any]) -> None:
    import tempfile

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in path.parent.iterdir():
        if time.time() - old.stat().st_mtime > _DELETE_SECONDS:
            old.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(answer, file)
    Path(file.name).replace(path)
