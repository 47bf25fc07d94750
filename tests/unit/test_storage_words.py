"""The published sentences about a move of the storage, as people read them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awa_cli.views.storage import moving, steps_ahead
from awa_lib.reads.storage import StorageReport

REPORT = StorageReport(
    current_engine="canonical", active_engine="canonical", prepared_engine=None,
    state="canonical", transition_epoch=1, details={}, entered_at=None, updated_at=None,
    finalized_at=None, prepared_queue_storage_schema=None, prepared_schema_ready=False,
    canonical_live_backlog=0, live_runtime_capability_counts={},
    can_enter_mixed_transition=False, enter_mixed_transition_blockers=[], can_finalize=False,
    finalize_blockers=[],
)  # fmt: skip


@pytest.mark.parametrize(
    ("published", "said"),
    [
        (
            "state is 'prepared' (expected 'mixed_transition')",
            "the state is prepared; it must be mixed_transition first",
        ),
        (
            'prepared_engine is None (expected Some("queue_storage"))',
            "no engine is prepared; queue_storage must be",
        ),
        (
            'prepared_engine is Some("x") (expected Some("queue_storage"))',
            '"x" is prepared; queue_storage must be',
        ),
        ("2 canonical-only runtime(s) are still live", "live workers of the old engine: 2"),
        (
            "3 canonical or drain-only runtime(s) are still live",
            "live workers of the old engine: 3",
        ),
        (
            "no live queue-storage-capable runtimes are reporting",
            "no live worker knows the new engine",
        ),
        ("canonical live backlog is 7", "jobs in the canonical tables: 7"),
        (
            "prepared queue-storage schema is missing required tables",
            "the prepared schema is missing required tables",
        ),
        ("something of a later release", "something of a later release"),
    ],
)
def test_sentences(published: str, said: str) -> None:
    (_, enter), (_, finalize) = steps_ahead(
        replace(REPORT, enter_mixed_transition_blockers=[published])
    )

    assert (enter, finalize) == ([said], [])


def test_a_move_is_under_way_once_it_is_prepared() -> None:
    assert not moving(REPORT)
    assert moving(replace(REPORT, state="prepared", prepared_engine="queue_storage"))
    assert moving(replace(REPORT, state="active"))
