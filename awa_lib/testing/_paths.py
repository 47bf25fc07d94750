"""The directory of a test run's server; cheap to import, for runs without a database."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

__all__ = ["find", "make"]

_PREFIX: Final = "awa-tests-"
# Creating and dropping a clone takes 12 ms in memory, and 25 to 250 ms on a busy disk.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the directory is made for this run alone
_MEMORY_BYTES: Final = 2_000_000_000
_ABANDONED_SECONDS: Final = 3600


def find(run_id: str) -> Path | None:
    """Return the directory of a run, or None if it has none."""
    places = (place / f"{_PREFIX}{run_id}" for place in (_MEMORY, Path(tempfile.gettempdir())))
    return next((place for place in places if place.is_dir()), None)


def make(run_id: str) -> Path:
    """Return the directory of a run, created if there is none.

    Not below pytest's own: if root made that, the embedded server's user may not enter it.
    """
    base = find(run_id)
    if base is None:
        disk = Path(tempfile.gettempdir())
        _sweep(disk)
        roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES
        base = (_MEMORY if roomy else disk) / f"{_PREFIX}{run_id}"
        base.mkdir(exist_ok=True)
        base.chmod(0o711)
    return base


def _sweep(disk: Path) -> None:
    """Delete the directories of runs that were killed."""
    from awa_lib.embedded import status

    for left in [*disk.glob(f"{_PREFIX}*"), *_MEMORY.glob(f"{_PREFIX}*")]:
        found = left.lstat()
        if found.st_uid == os.geteuid() and found.st_mtime < time.time() - _ABANDONED_SECONDS:
            state = status(left / "pg")
            if not (state.running or state.in_use):
                shutil.rmtree(left, ignore_errors=True)
