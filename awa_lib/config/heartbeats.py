"""The options about heartbeats, of which some follow from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["heartbeat_options"]

# By default these are a third of a shorter staleness: three heartbeats, looks, elections.
_PARTS_OF_STALENESS: Final = (
    "heartbeat_interval_ms",
    "heartbeat_rescue_interval_ms",
    "leader_election_interval_ms",
    "undeclared_interval_ms",
)
_PARTS: Final = 3
# A worker that misses a heartbeat must not lose its jobs.
_BEATS_PER_STALENESS: Final = 2


def heartbeat_options(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options about heartbeats, with those that follow from the given ones.

    A longer interval makes the staleness longer, and a shorter staleness the intervals shorter.
    Workers that declare nothing are judged by a staleness that is given, and by an interval that is
    given with it, else by those of awa 0.5.
    Raises ValueError when a staleness that is given is shorter than two intervals.
    """
    interval = given.get("heartbeat_interval_ms", defaults["heartbeat_interval_ms"])
    staleness = given.get(
        "heartbeat_staleness_ms", max(defaults["heartbeat_staleness_ms"], _PARTS * interval)
    )
    undeclared = given.get("heartbeat_staleness_ms", defaults["undeclared_staleness_ms"])
    whole = {"undeclared_interval_ms": undeclared}
    follow = {
        key: min(defaults[key], whole.get(key, staleness) / _PARTS) for key in _PARTS_OF_STALENESS
    }
    filled = {
        "heartbeat_staleness_ms": staleness,
        "undeclared_staleness_ms": undeclared,
        **follow,
        **{key: given[key] for key in follow if key in given},
    }
    if {"heartbeat_interval_ms", "heartbeat_staleness_ms"} <= given.keys():
        filled["undeclared_interval_ms"] = interval
    if staleness < _BEATS_PER_STALENESS * filled["heartbeat_interval_ms"]:
        raise ValueError(
            "heartbeat_staleness_ms must be at least twice heartbeat_interval_ms, got "
            f"{staleness:g} and {filled['heartbeat_interval_ms']:g}"
        )
    return filled
