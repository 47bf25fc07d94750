"""Whether and when a failed attempt is retried."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import ValidationError
from awa_lib.validation import takes

if TYPE_CHECKING:
    import random  # noqa: TID251 - for a type
    from collections.abc import Callable

__all__ = ["Backoff", "RetryPolicy", "exponential", "fixed", "linear"]

_DAY: Final = 86_400.0
# A hundred years: beyond any real delay, and well inside what timestamptz can hold.
_LONGEST: Final = 3.15e9
_MOST_ATTEMPTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait after an attempt; made by ``fixed``, ``linear`` and ``exponential``."""

    first: float
    factor: float
    step: float
    most: float
    jitter: float

    def seconds(self, attempt: int, source: random.Random) -> float:
        """Return the delay after attempt 1, 2, …, at most ``most``."""
        # A power beyond 2**63 is above the limit anyway, and could overflow.
        power = min(attempt - 1, 63 / max(math.log2(self.factor), 1e-9))
        base: float = self.first * self.factor**power + self.step * (attempt - 1)
        return bounded(min(base * (1 + self.jitter * source.random()), self.most))


def bounded(seconds: float) -> float:
    """Return a delay that the database can hold."""
    return min(max(seconds, 0.0), _LONGEST)


def fixed(seconds: float, *, jitter: float = 0) -> Backoff:
    """Wait ``seconds`` after each attempt, and up to ``jitter`` (a share: 0.1 is 10 %) longer.

    Raises ValidationError.
    """
    return _backoff(seconds, 1, 0, math.inf, jitter)


def linear(
    first: float, *, step: float | None = None, most: float = _DAY, jitter: float = 0
) -> Backoff:
    """Wait ``first`` seconds, then ``step`` seconds longer each time (by default ``first``).

    At most ``most`` seconds, by default a day.  Raises ValidationError.
    """
    return _backoff(first, 1, first if step is None else step, most, jitter)


def exponential(
    first: float = 2.0, *, factor: float = 2.0, most: float = _DAY, jitter: float = 0.25
) -> Backoff:
    """Wait ``first`` seconds, then ``factor`` times as long each time.

    At most ``most`` seconds, by default a day.  The defaults are those of awa 0.5.  Raises
    ValidationError.
    """
    return _backoff(first, factor, 0, most, jitter)


def _backoff(first: float, factor: float, step: float, most: float, jitter: float) -> Backoff:
    for name, value, least in (
        ("first", first, 0),
        ("factor", factor, 1),
        ("step", step, 0),
        ("most", most, 0),
        ("jitter", jitter, 0),
    ):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # NaN is neither less nor more.
        if not number or not value >= least:
            raise ValidationError(f"{name} of a backoff must be a number >= {least}, got {value!r}")
    # Finite: infinity times zero is NaN, and ints may be larger than any float.
    numbers = (float(min(value, _LONGEST)) for value in (first, factor, step, most, jitter))
    return Backoff(*numbers)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failures of a kind are handled, as ``client.task`` was given."""

    backoff: Backoff | Callable[[int, BaseException], float] | None = None
    max_attempts: int | None = None
    retry_on: tuple[type[BaseException], ...] = ()
    discard_on: tuple[type[BaseException], ...] = ()

    @classmethod
    def build(
        cls, backoff: Any, max_attempts: Any, retry_on: Any, discard_on: Any
    ) -> RetryPolicy | None:
        """Check the options; None when none is set.  Raises ValidationError."""
        if backoff is None and max_attempts is None and not retry_on and not discard_on:
            return None
        if max_attempts is not None and (
            type(max_attempts) is not int or not 1 <= max_attempts <= _MOST_ATTEMPTS
        ):
            raise ValidationError(
                f"max_attempts must be a whole number from 1 to {_MOST_ATTEMPTS}, "
                f"got {max_attempts!r}"
            )
        return cls(
            check_backoff(backoff),
            max_attempts,
            _classes("retry_on", retry_on),
            _classes("discard_on", discard_on),
        )


def check_backoff(value: Any) -> Any:
    """Return a backoff, a plain function of (attempt, error), or None.

    Raises ValidationError for anything else.
    """
    if value is None or isinstance(value, Backoff):
        return value
    if callable(value) and not inspect.iscoroutinefunction(value) and takes(value, 2):
        return value
    raise ValidationError(
        f"backoff must be fixed(), linear(), exponential() or a function, got {value!r}",
        hint="for example backoff=awa.fixed(5), or lambda attempt, error: 2 * attempt",
    )


def _classes(name: str, value: Any) -> tuple[type[BaseException], ...]:
    classes = value if isinstance(value, tuple | list | set | frozenset) else (value,)
    if not value:
        return ()
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise ValidationError(f"{name} must be exception classes, got {cls!r}")
    return tuple(classes)
