"""The file of the saved state: apart for each database, without secrets."""

from __future__ import annotations

from awa_cli.tui.saved_state import SavedState


def test_saved_state_is_apart_for_each_database_and_survives_garbage(tmp_path) -> None:
    from awa_cli.database.target import describe

    path = tmp_path / "state.json"
    one = SavedState(describe("postgresql://u:secret@a/x"), path)
    two = SavedState(describe("postgresql://u:secret@b/x"), path)
    one.put("screen", "jobs")
    two.put("screen", "queues")
    assert ("jobs", "queues") == (one.get("screen"), two.get("screen"))
    assert "secret" not in path.read_text()
    path.write_text("{not json")
    assert None is one.get("screen")
    one.put("theme", "awa-light")
    assert "awa-light" == one.get("theme")
