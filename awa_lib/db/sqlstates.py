"""The meaning of SQLSTATE codes.

The codes are those of Appendix A of the PostgreSQL manual.  The text of a message is not read: it
may be in another language.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["READ_ONLY", "Meaning", "meaning_of"]

# A standby, a primary that was demoted, or a setting.
READ_ONLY: Final = "25006"


class Meaning(Enum):
    """What an error says about sending the statement again."""

    LOST = "lost"
    """The connection or the server is gone, full or read-only: connect again later."""
    AGAIN = "again"
    """The statement changed nothing, and may succeed if it is sent again."""
    THEIRS = "theirs"
    """The data is the cause: the same statement fails again with the same values."""
    OURS = "ours"
    """The statement, the schema or the privileges are the cause."""


# The longest prefix decides.
_MEANINGS: Final = {
    "08": Meaning.LOST,  # connection exceptions
    "53": Meaning.LOST,  # disk full, out of memory, too many connections
    "57P": Meaning.LOST,  # shutdown, crash, starting up, idle session ended
    "58": Meaning.LOST,  # the operating system under the server failed
    READ_ONLY: Meaning.LOST,
    "25P03": Meaning.LOST,  # idle in transaction for too long: the session was ended
    "25P04": Meaning.LOST,  # in transaction for too long: the session was ended
    "40": Meaning.AGAIN,  # serialization failure, deadlock
    "55P03": Meaning.AGAIN,  # lock_timeout, NOWAIT
    "55006": Meaning.AGAIN,  # object in use
    "57014": Meaning.AGAIN,  # statement_timeout, or cancelled by an operator
    "26000": Meaning.AGAIN,  # a pooler lost the prepared statement
    "42P05": Meaning.AGAIN,  # a pooler has the prepared statement already
    "0A000": Meaning.AGAIN,  # "cached plan must not change result type": a migration went by
    "21": Meaning.THEIRS,
    "22": Meaning.THEIRS,
    "23": Meaning.THEIRS,
    "44": Meaning.THEIRS,
    "P0001": Meaning.THEIRS,
    "54": Meaning.THEIRS,  # too large for an index, a row, a stack
}


def meaning_of(sqlstate: str | None, *, broken: bool) -> Meaning:
    """Return the meaning of an error; without a code, ``broken`` means a lost connection."""
    if sqlstate is None:
        return Meaning.LOST if broken else Meaning.OURS
    for length in (5, 3, 2):
        if (found := _MEANINGS.get(sqlstate[:length])) is not None:
            return found
    return Meaning.OURS
