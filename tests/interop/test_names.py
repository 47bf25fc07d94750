"""Every public name of the published wheel is here, and takes what it takes there.

Both packages describe themselves (``describe_names.py``); what differs has its reason below.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from awa_lib.config.workers import StartOptions, WorkerOptions
from awa_lib.descriptors import DescriptorFields

SCRIPT = Path(__file__).with_name("describe_names.py")
Names = dict[str, dict[str, dict[str, Any]]]

# Options that we take as **options of a TypedDict.
KEYWORDS = {
    "AsyncClient.start": StartOptions,
    "RawClient.start": StartOptions,
    "AsyncClient.queue_descriptor": DescriptorFields,
    "AsyncClient.job_kind_descriptor": DescriptorFields,
    "RawClient.queue_descriptor": DescriptorFields,
    "RawClient.job_kind_descriptor": DescriptorFields,
}

# Names of theirs that we do not have.
MISSING = {
    ".client:T": "a type variable",
    ".testing:T": "a type variable",
    ".bridge:derive_kind": "an import that shows; it is public in the package itself",
    ".testing:derive_kind": "an import that shows; it is public in the package itself",
}

# Differences in what exists in both.
DIFFERENT = {
    ":migrate is async": "a coroutine here, an awaitable there that has already done its work",
    ":RawClient class name": "it is called Client inside the extension",
    ":Transaction class name": "AsyncTransaction is what it is called inside",
    ":SyncTransaction class name": "Transaction is what it is called inside",
    ".testing:AwaTestClient.client is a member": "an attribute here, a property there",
    ".testing:AwaTestClient.insert kwargs": "passed on under another name",
    **{
        f"{module}:AsyncClient.{verb} {name} default {theirs} None": "what the kind declares, else that"
        for module in ("", ".client")
        for verb, name, theirs in (
            ("task", "queue", "'default'"),
            ("periodic", "queue", "'default'"),
            ("periodic", "priority", "2"),
            ("periodic", "max_attempts", "25"),
        )
    },
    ":RawClient.periodic priority default 2 None": "as above",
    ":RawClient.periodic max_attempts default 25 None": "as above",
    ".testing:awa_client is async": "a fixture, whose function pytest calls",
    ".testing:awa_client needs awa_async_client": "a fixture: pytest gives it the client",
}

# Handed out by the library only: neither has a constructor that programs may call.
HANDED_OUT = {
    "Job", "JobState", "HealthCheck", "QueueHealth", "QueueStat", "CallbackToken",
    "ResolveResult", "Transaction", "SyncTransaction", "NoJob",
}  # fmt: skip


def run(python: str, package: str) -> Names:
    done = subprocess.run(
        [python, str(SCRIPT), package], capture_output=True, text=True, timeout=60, check=True
    )
    return dict(json.loads(done.stdout))


@cache
def of_ours() -> Names:
    return run(sys.executable, "awa_lib")


@pytest.fixture(scope="module")
def theirs(interop) -> Names:
    return run(str(interop.bin / "python"), "awa")


@pytest.fixture(scope="module")
def ours() -> Names:
    return of_ours()


def pairs(theirs: Names, ours: Names) -> Iterator[tuple[str, Any, Any]]:
    """Yield each name of theirs with both descriptions."""
    for module, names in theirs.items():
        for name, there in names.items():
            if f"{module}:{name}" not in MISSING:
                yield f"{module}:{name}", there, ours[module][name]


def test_every_name_is_here(theirs, ours) -> None:
    missing = {
        f"{module}:{name}"
        for module, names in theirs.items()
        for name in names
        if name not in ours[module]
    }

    assert len(theirs[""]) == 30
    assert missing == set(MISSING)


def differences(theirs: Names, ours: Names) -> Iterator[str]:
    for where, there, here in pairs(theirs, ours):
        if there["what"] != here["what"]:
            yield f"{where} is a {there['what']}"
            continue
        name = where.partition(":")[2]
        if there["what"] == "function" and there["async"] != here["async"]:
            yield f"{where} is async"
        if name not in HANDED_OUT:
            yield from parameters(where, there["parameters"], here["parameters"])
        if there["what"] == "class":
            yield from of_class(where, there, here)


def of_class(where: str, there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    for base in there["bases"]:
        if base in {"AwaError", "Exception", "Generic"} and base not in here["bases"]:
            yield f"{where} base {base}"
    if there["bases"][0] != here["bases"][0]:
        yield f"{where} class name"
    for name, member in there["members"].items():
        found = here["members"].get(name)
        if found is None:
            yield f"{where}.{name} is a member"
        elif (member["what"] == "method") != (found["what"] == "method"):
            yield f"{where}.{name} is a {member['what']}"
        elif member["what"] == "method":
            yield from parameters(f"{where}.{name}", member["parameters"], found["parameters"])


def parameters(where: str, there: Any, here: Any) -> Iterator[str]:
    """Yield what a call that is right there gets wrong here."""
    if there is None or where.endswith((".add_note", ".with_traceback")):
        return  # nothing to read: an exception class of the extension
    assert here is not None, where
    keywords = KEYWORDS.get(where.rpartition(":")[2])
    if keywords is not None:
        here = [
            *here[:-1],
            *({"name": n, "kind": "KEYWORD_ONLY", "default": ""} for n in keywords.__annotations__),
        ]
    found = {one["name"]: (place, one) for place, one in enumerate(here)}
    for place, one in enumerate(there):
        if one["kind"] == "VAR_POSITIONAL" and any(o["kind"] == one["kind"] for o in here):
            continue
        if one["name"] not in found:
            yield f"{where} {one['name']}"
            continue
        ours_at, ours_is = found[one["name"]]
        if ours_is["kind"] != one["kind"]:
            yield f"{where} {one['name']} kind"
        if one["kind"] != "KEYWORD_ONLY" and ours_at != place:
            yield f"{where} {one['name']} place"
        # The extension does not tell its defaults; None is a default of options of ours.
        if one["default"] not in {ours_is["default"], "Ellipsis", None} and keywords is None:
            yield f"{where} {one['name']} default {one['default']} {ours_is['default']}"
    known = {one["name"] for one in there}
    for one in here:
        needed = one["default"] is None and not one["kind"].startswith("VAR_")
        if needed and one["name"] not in known:
            yield f"{where} needs {one['name']}"


def test_a_call_that_is_right_there_is_right_here(theirs, ours) -> None:
    assert sorted(differences(theirs, ours)) == sorted(DIFFERENT)


def test_options_of_start_are_documented_defaults(theirs) -> None:
    """Theirs are None, which stands for these; ours are too."""
    published = {
        one["name"]: one["default"]
        for one in theirs[""]["AsyncClient"]["members"]["start"]["parameters"]
        if one["kind"] == "KEYWORD_ONLY"
    }
    ours = WorkerOptions(())

    assert set(published) <= set(StartOptions.__annotations__)
    assert published.pop("poll_interval_ms") == "200"
    assert set(published.values()) == {"None"}
    assert {name: getattr(ours, name) for name in published} == {
        "global_max_workers": None,
        "completed_retention_hours": 24,
        "failed_retention_hours": 72,
        "descriptor_retention_days": 30,
        "cleanup_batch_size": 1_000,
        # Theirs are 10, 30, 30 and 90 seconds.
        "leader_election_interval_ms": 3_000,
        "heartbeat_interval_ms": 3_000,
        "heartbeat_rescue_interval_ms": 2_000,
        "heartbeat_staleness_ms": 10_000,
        "promote_interval_ms": 250,
        "deadline_rescue_interval_ms": 30_000,
        "callback_rescue_interval_ms": 30_000,
    }
    assert ours.poll_interval_ms == 200


def test_start_options_are_those_of_the_worker() -> None:
    derived = {"queues", "undeclared_interval_ms", "undeclared_staleness_ms"}
    assert set(StartOptions.__annotations__) == set(WorkerOptions.__annotations__) - derived
