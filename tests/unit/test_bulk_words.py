"""What a bulk operation does, in words."""

from __future__ import annotations

import pytest

from awa_cli.views.bulk import filter_words


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({}, "all jobs"),
        ({"state": "waiting_external"}, "waiting external jobs"),
        ({"kind": "email", "queue": "a b"}, "jobs of kind email in queue a b"),
        (
            {"state": "failed", "tag": "x", "error": "no", "args": {"to": "Zoë"}},
            'failed jobs tagged x whose error contains “no” whose args contain {"to": "Zoë"}',
        ),
        (
            {"created_after": "2026-01-01", "created_before": "2026-02-01"},
            "jobs created since 2026-01-01 created before 2026-02-01",
        ),
        # Another version may filter by more: nothing is left out.
        ({"kind": "email", "shard": 3}, "jobs of kind email with shard 3"),
    ],
)
def test_filters_are_said(where, words) -> None:
    assert words == filter_words(where)
