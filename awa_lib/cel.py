"""CEL expressions of callbacks, through cel-expr-python (extra ``cel``)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from awa_lib._json import dumps
from awa_lib.errors import ValidationError

__all__ = ["Decision", "Expressions", "check", "decide"]

# cel-cpp bounds iterations and recursion, but neither time nor memory: a short source bounds both.
_LONGEST_SOURCE: Final = 2_048
_LARGEST_RESULT: Final = 1_048_576
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_MOST_INT: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Expressions:
    """What a callback was registered with; None where there is no expression."""

    filter: str | None = None
    on_complete: str | None = None
    on_fail: str | None = None
    transform: str | None = None

    @property
    def any(self) -> bool:
        """Return True when there is an expression at all."""
        return any((self.filter, self.on_complete, self.on_fail, self.transform))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a payload means for its job."""

    outcome: str
    """completed, failed or ignored."""
    payload: Any = None
    reason: str | None = None
    expression: str | None = None


def check(expressions: Expressions) -> None:
    """Compile each expression.  Raises ValidationError with the reason; needs the extra ``cel``."""
    for name in ("filter", "on_complete", "on_fail", "transform"):
        source = getattr(expressions, name)
        if source is None:
            continue
        if not isinstance(source, str):
            raise ValidationError(f"CEL expression for {name} must be text, got {source!r}")
        if len(source) > _LONGEST_SOURCE:
            raise ValidationError(
                f"CEL expression for {name} has {len(source)} characters, {_LONGEST_SOURCE} at most"
            )
        try:
            _compiled(source)
        except RuntimeError as error:
            unknown = sorted(set(_UNDECLARED.findall(str(error))))
            if unknown:
                raise ValidationError(
                    f"CEL expression for {name} references undeclared variable(s): "
                    f"{', '.join(unknown)}; only 'payload' is available"
                ) from error
            reason = " ".join(str(error).split())
            raise ValidationError(f"invalid CEL expression for {name}: {reason}") from error


def decide(expressions: Expressions, payload: Any, default_action: str) -> Decision:
    """Evaluate the expressions of a callback.  Blocks for milliseconds: not for an event loop.

    The order is filter, on_fail, on_complete, default.  An expression that fails, or gives no
    boolean, counts as not written; a failing transform leaves the payload as it is.
    """
    if expressions.filter is not None and _boolean(expressions.filter, payload) is False:
        return Decision("ignored", reason="filter expression returned false")
    if expressions.on_fail is not None and _boolean(expressions.on_fail, payload) is True:
        return Decision(
            "failed", reason="callback failed: on_fail expression matched",
            expression=expressions.on_fail,
        )  # fmt: skip
    if expressions.on_complete is not None and _boolean(expressions.on_complete, payload) is True:
        return Decision("completed", payload=_transformed(expressions.transform, payload))
    if default_action == "complete":
        return Decision("completed", payload=payload)
    if default_action == "fail":
        return Decision("failed", reason="callback failed: default action")
    matched = "no expression matched" if expressions.any else "no expressions configured"
    return Decision("ignored", reason=f"{matched}, default is ignore")


@lru_cache(maxsize=256)
def _compiled(source: str) -> Any:
    try:
        from cel_expr_python import cel
    except ImportError:
        raise ValidationError(
            "CEL expressions need the extra 'cel', which is not installed here",
            hint="pip install 'awa-toolkit[cel]'",
        ) from None
    return cel.NewEnv(variables={"payload": cel.Type.DYN}).compile(source)


def _evaluate(source: str, payload: Any) -> Any:
    """Return the plain value, or raise ValueError for an error of any kind."""
    from cel_expr_python import cel

    try:
        result = _compiled(source).eval(data={"payload": _readable(payload)})
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    if result.type() == cel.Type.ERROR:
        raise ValueError(str(result.value()))
    return result.plain_value()


def _readable(value: Any) -> Any:
    """Return the value with integers beyond CEL's 64 bits as doubles."""
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MOST_INT:
        return float(value) if abs(value) < 2**1023 else math.inf
    return value


def _boolean(source: str, payload: Any) -> bool | None:
    try:
        value = _evaluate(source, payload)
    except ValueError:
        return None
    return value if isinstance(value, bool) else None


def _transformed(source: str | None, payload: Any) -> Any:
    if source is None:
        return payload
    try:
        value = _evaluate(source, payload)
        return value if len(dumps(value)) <= _LARGEST_RESULT else payload
    except (ValueError, TypeError):  # a failing expression, or a value that JSON cannot hold
        return payload
