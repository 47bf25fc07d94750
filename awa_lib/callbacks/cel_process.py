"""The process that evaluates CEL expressions: a script that imports nothing of awa.

cel-cpp limits neither time nor memory, so the operating system does: an expression that takes too
much ends this process.  Each line of standard input is a JSON object (source, payload), each line
of standard output its answer: ``value``, ``error`` or ``over``.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from functools import lru_cache
from typing import Any

# awa_lib.validation.INT64_MAX, which a script that imports nothing of awa cannot name.
_INT64_MAX = 2**63 - 1
_DEEPEST = 200


def _readable(value: Any, depth: int = 0) -> Any:
    """Return the value with integers of more than 64 bits as doubles.  Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError(f"the payload is nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        return {key: _readable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _INT64_MAX:
        return float(value) if abs(value) < 2**1023 else math.inf
    return value


@lru_cache(maxsize=256)
def _compiled(source: str) -> Any:
    from cel_expr_python import cel

    return cel.NewEnv(variables={"payload": cel.Type.DYN}).compile(source)


def _answer(request: dict[str, Any], largest: int) -> dict[str, Any]:
    from cel_expr_python import cel

    try:
        expression = _compiled(request["source"])
        if "payload" not in request:
            return {"value": None}
        result = expression.eval(data={"payload": _readable(request["payload"])})
        if result.type() == cel.Type.ERROR:
            return {"error": str(result.value())}
        value = result.plain_value()
        text = json.dumps(value, allow_nan=False)
    except (RuntimeError, ValueError, TypeError) as error:
        return {"error": str(error)}
    except MemoryError:
        return {"over": "memory"}
    return {"value": value} if len(text) <= largest else {"error": "the result is too large"}


def _bound_memory(most: int) -> None:
    try:
        import resource
        from pathlib import Path

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + most, used + most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass  # not Linux: the time-out is the only limit


def _bound_time(seconds: float) -> None:
    """Let the system end this process after this processor time; 0 for no limit."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer requests until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    sys.path[:] = settings["path"]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _answer({"source": "payload == 1", "payload": 1}, 10)
    _bound_memory(settings["memory"])
    _say("{}")
    for line in sys.stdin:
        _bound_time(settings["seconds"])
        try:
            text = json.dumps(_answer(json.loads(line), settings["largest"]))
        except (MemoryError, RecursionError):
            text = '{"over": "memory"}'
        _bound_time(0)
        _say(text)


if __name__ == "__main__":
    main()
