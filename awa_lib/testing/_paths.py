"""Where a test run keeps its server; loads nothing heavy, for runs without a database."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

__all__ = ["find", "make"]

_PREFIX: Final = "awa-tests-"
# A clone made and dropped costs 12 ms in memory, and 25 to 250 on a busy disk.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the directory is made for this run alone
_ENOUGH_BYTES: Final = 2_000_000_000
_FORGOTTEN_SECONDS: Final = 3600


def find(run_id: str) -> Path | None:
    """Return the directory of a run, or None when it has none."""
    places = (place / f"{_PREFIX}{run_id}" for place in (_MEMORY, Path(tempfile.gettempdir())))
    return next((place for place in places if place.is_dir()), None)


def make(run_id: str) -> Path:
    """Return the directory of a run, made when there is none.

    Not below pytest's own: as root that is closed to the user the embedded server runs as.
    """
    base = find(run_id)
    if base is None:
        disk = Path(tempfile.gettempdir())
        _sweep(disk)
        roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
        base = (_MEMORY if roomy else disk) / f"{_PREFIX}{run_id}"
        base.mkdir(exist_ok=True)
        base.chmod(0o711)
    return base


def _sweep(disk: Path) -> None:
    """Delete what runs that were killed have left."""
    from awa_lib.embedded import status

    for left in [*disk.glob(f"{_PREFIX}*"), *_MEMORY.glob(f"{_PREFIX}*")]:
        found = left.lstat()
        if found.st_uid == os.geteuid() and found.st_mtime < time.time() - _FORGOTTEN_SECONDS:
            state = status(left / "pg")
            if not (state.running or state.in_use):
                shutil.rmtree(left, ignore_errors=True)
