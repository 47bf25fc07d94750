"""Ages as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def test_ages_are_computed_by_one_clock(monkeypatch) -> None:
    from awa_cli.views import words

    moment = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(words, "now", lambda: moment)

    assert "3m ago" == words.age(moment - timedelta(minutes=3))
