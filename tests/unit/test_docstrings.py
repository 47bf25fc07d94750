"""Every public verb says what types cannot: units, locks, and what it raises."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import awa_lib as awa
from awa_lib import bridge, testing

CLASSES = (
    awa.AsyncClient, awa.Client, awa.Transaction, awa.SyncTransaction, awa.Job, awa.RawClient,
    testing.AwaTestClient,
)  # fmt: skip
MODULES = (awa, bridge, testing)

# These take what they need from what they are given, and find nothing wrong with it.
NEVER_RAISE = {
    "derive_kind", "migrations", "migrations_range", "inline", "awa_client",
}  # fmt: skip


def verbs() -> Iterator[tuple[str, Any]]:
    for owner in CLASSES:
        for name, member in inspect.getmembers(owner, callable):
            if not name.startswith("_"):
                yield f"{owner.__name__}.{name}", member
    for module in MODULES:
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.isfunction(member):
                yield f"{module.__name__}.{name}", member


VERBS = dict(verbs())


def takes_something(verb: Any) -> bool:
    return bool(set(inspect.signature(verb).parameters) - {"self"})


def test_the_walk_finds_them() -> None:
    assert len(VERBS) > 200
    assert {"AsyncClient.task", "Client.insert", "Job.set_progress", "awa_lib.run"} < set(VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_docstring(name: str) -> None:
    verb = VERBS[name]
    text = inspect.getdoc(verb) or ""
    first = text.partition("\n")[0]

    assert first.endswith((".", ":")), f"{name} has no sentence: {first!r}"
    assert len(first) <= 96, f"{name}: {first!r}"
    if takes_something(verb) and name.rpartition(".")[2] not in NEVER_RAISE:
        assert re.search(r"\b(raises?|See)\b", text, re.I), f"{name} does not say what it raises"
