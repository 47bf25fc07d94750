"""Log records of a worker on stderr, unless the application configures logging itself."""

from __future__ import annotations

import logging
import sys
from typing import Final

__all__ = ["set_up"]

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    """Append the fields given as ``extra`` to the message, as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extra = {key: value for key, value in vars(record).items() if key not in _OWN}
        if not extra:
            return line
        first, newline, rest = line.partition("\n")
        pairs = " ".join(f"{key}={value}" for key, value in extra.items())
        return f"{first}  {pairs}{newline}{rest}"


def set_up(*, verbose: int) -> None:
    """Send records of level info and above to stderr; with -v of level debug."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("awa_lib").setLevel(logging.DEBUG if verbose else logging.INFO)
