"""``awa kind``: the list, and the page of a kind."""

from __future__ import annotations


def test_show_of_a_kind(cli, add, live_worker) -> None:
    error = '{"error": "Boom: x\\ntrace", "attempt": 1, "at": "2026-11-23T21:32:12+00:00"}'
    job = add("failed", errors=[error], finalized_at="2026-11-23T21:32:12Z")
    out = cli("kind", "show", "send_email").out
    assert out.startswith("Kind send_email\n\n  jobs       1 failed\n")
    assert "  workers    1\n" in out
    assert f"\nLatest failures\n  {job}  " in out
    assert "Boom: x\n" in out
    assert f"  awa job show {job}\n  awa job retry --state failed --kind send_email\n" in out
    header, row = cli("kind", "list").out.splitlines()
    assert header.split()[:3] == ["KIND", "JOBS", "AVAIL"]
    assert row.split()[0] == "send_email"
    assert cli("kind", "list", "-o", "ids").out == "send_email\n"
    assert cli("kind", "show", "send_email", "-o", "json").data["live_instances"] == 1
