"""CEL expressions of callbacks, evaluated by cel-expr-python (extra ``cel``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from awa_lib._json import dumps
from awa_lib.callbacks.cel_helper import LARGEST, OverBound, ask
from awa_lib.errors import ValidationError
from awa_lib.logs import Logger

__all__ = ["Decision", "Expressions", "check", "decide"]

logger = Logger(__name__)

_LONGEST_SOURCE: Final = 2_048
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")


@dataclass(frozen=True, slots=True)
class Expressions:
    """The expressions of a callback; None for an expression that is not given."""

    filter: str | None = None
    on_complete: str | None = None
    on_fail: str | None = None
    transform: str | None = None

    @property
    def any(self) -> bool:
        """Return True if there is an expression."""
        return any((self.filter, self.on_complete, self.on_fail, self.transform))


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a payload for its job."""

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
        _compile(name, source)


def _compile(name: str, source: str) -> None:
    try:
        error = _ask({"source": source}).get("error")
    except OverBound as over:
        error = f"{over} to compile"
    if error is None:
        return
    unknown = sorted(set(_UNDECLARED.findall(error)))
    if unknown:
        raise ValidationError(
            f"CEL expression for {name} references undeclared variable(s): "
            f"{', '.join(unknown)}; only 'payload' is available"
        )
    raise ValidationError(f"invalid CEL expression for {name}: {' '.join(error.split())}")


def decide(expressions: Expressions, payload: Any, default_action: str) -> Decision:
    """Evaluate the expressions of a callback.  Blocks for up to seconds: not for an event loop.

    The order is filter, on_fail, on_complete, default.  An expression is ignored if it fails,
    returns no boolean, or takes more than a second of processor time or 256 MB.  If the transform
    fails, the payload stays as it is.
    """
    given = _Payload(payload)
    if expressions.filter is not None and _boolean("filter", expressions.filter, given) is False:
        return Decision("ignored", reason="filter expression returned false")
    if expressions.on_fail is not None and _boolean("on_fail", expressions.on_fail, given) is True:
        return Decision(
            "failed",
            reason="callback failed: on_fail expression matched",
            expression=expressions.on_fail,
        )
    if (
        expressions.on_complete is not None
        and _boolean("on_complete", expressions.on_complete, given) is True
    ):
        return Decision("completed", payload=_transformed(expressions.transform, given))
    if default_action == "complete":
        return Decision("completed", payload=payload)
    if default_action == "fail":
        return Decision("failed", reason="callback failed: default action")
    matched = "no expression matched" if expressions.any else "no expressions configured"
    return Decision("ignored", reason=f"{matched}, default is ignore")


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    if find_spec("cel_expr_python") is None:
        raise ValidationError(
            "CEL expressions need the extra 'cel', which is not installed here",
            hint="install it: pip install 'awa-toolkit[cel]'",
        )
    return ask(request)


def _evaluate(name: str, source: str, payload: _Payload) -> Any:
    """Return the plain value.  Raises ValueError for any error."""
    if payload.size > LARGEST:
        logger.warning(
            "a CEL expression is ignored: the payload is nested too deep, or has more "
            "than %d characters of JSON",
            LARGEST,
            extra={"expression": name},
        )
        raise ValueError("the payload is too large")
    try:
        answer = _ask({"source": source, "payload": payload.value})
    except OverBound as error:
        logger.warning(
            "a CEL expression is ignored: %s",
            error,
            extra={"expression": name, "source": source},
        )
        raise ValueError(str(error)) from error
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["value"]


class _Payload:
    """A payload and the length of its JSON text."""

    def __init__(self, value: Any) -> None:
        self.value = value
        try:
            self.size = len(dumps(value))
        except RecursionError:
            self.size = LARGEST + 1


def _boolean(name: str, source: str, payload: _Payload) -> bool | None:
    try:
        value = _evaluate(name, source, payload)
    except ValueError:
        return None
    return value if isinstance(value, bool) else None


def _transformed(source: str | None, payload: _Payload) -> Any:
    if source is None:
        return payload.value
    try:
        return _evaluate("transform", source, payload)
    except ValueError:
        return payload.value
