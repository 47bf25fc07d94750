"""Decide when a client sends a statement again by itself.

Never inside a transaction: the error rolled back what came before.  Otherwise a statement is sent
again when

- no connection could be opened: it was never sent;
- it failed with a transient error: the server has rolled it back;
- the connection was lost and the statement only reads.  A change may have been committed without
  an answer, and a second insert would be a second job.

The number of tries and the time are limited; pauses grow and are random.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, TypeVar

from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, Query, Statement
from awa_lib.db.jitter import RANDOM
from awa_lib.errors import Transient, Unavailable

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["RENEW", "Renew", "Tries", "again"]

R = TypeVar("R")

_TRIES: Final = 3
_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.1
_READS: Final = re.compile(r"\s*(SELECT|WITH)\b", re.IGNORECASE)
# A function of the schema awa may write; these functions of the server do more than read.
_CHANGES: Final = re.compile(
    r"\b(INSERT|UPDATE|DELETE|MERGE|SHARE|nextval|setval|set_config|pg_notify|pg_reload_conf"
    r"|pg_(terminate|cancel|drop|create)_\w+|pg_\w*advisory\w*)\b|\bawa\.\w+\s*\(",
    re.IGNORECASE,
)

# At this statement the driver raises Renew: its caller takes another connection and continues the
# same op there.
RENEW: Final = Query("renew", "", ())


class Renew(Exception):
    """An op continues after ``seconds``, on another connection."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Tries:
    """The tries of a call of a client, and the pauses between them."""

    __slots__ = ("_began", "_left", "_pause")

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._left = _TRIES - 1
        self._pause = _FIRST_PAUSE

    def pause(self) -> float | None:
        """Return the pause before the next try, or None after the last try."""
        if not self._left:
            return None
        self._left -= 1
        pause = self._pause * RANDOM.uniform(0.5, 1.5)
        self._pause *= 3
        return pause if time.monotonic() + pause - self._began < _SECONDS else None


def again(op: Op[R], tries: Tries) -> Op[R]:
    """Run an op, and send a statement again where that is safe."""
    depth = 0
    try:
        statement = next(op)
        while True:
            try:
                rows = yield statement
            except Transient as error:
                pause = None
                if not depth and _may_repeat(statement, error):
                    pause = tries.pause()
                if pause is None:
                    statement = op.throw(error)
                else:
                    yield Statement(RENEW, (pause,))
                continue
            except BaseException as error:  # noqa: BLE001 - any error goes to the op
                statement = op.throw(error)
                continue
            depth += (statement is BEGIN) - (statement is COMMIT or statement is ROLLBACK)
            statement = op.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return] # StopIteration.value is Any


def _may_repeat(statement: Statement, error: Transient) -> bool:
    if statement in {BEGIN, COMMIT, ROLLBACK} or statement.data is not None:
        return False
    return not isinstance(error, Unavailable) or reads(statement.query)


def reads(query: Query) -> bool:
    """Return True for a statement that only reads."""
    text = query.text
    return _READS.match(text) is not None and _CHANGES.search(text) is None
