"""``awa access``: users and tokens of the web server."""

from __future__ import annotations

from fix_wait import eventually
from serving import get, serving


def test_access_is_given_listed_and_taken(offline, tmp_path, monkeypatch, database_url) -> None:
    import io
    import sys

    path = tmp_path / "access.toml"
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert offline("access", "user", "alice", "--scope", "operate", "--file", path).status == 0
    token = offline("access", "token", "ci", "--file", path).out.strip()
    listed = offline("access", "list", "--file", path, "-o", "json").data

    assert (path.stat().st_mode & 0o777) == 0o600
    assert "correct horse" not in path.read_text()
    assert token not in path.read_text()
    assert [(one["name"], one["kind"], one["scope"]) for one in listed] == [
        ("alice", "user", "operate"), ("ci", "token", "read"),
    ]  # fmt: skip
    with serving("serve", "--port", "0", "--auth", path, url=database_url) as (_, address, _):
        eventually(lambda: get(address, "/healthz"))
        assert get(address, "/api/stats")[0] == 401
        assert get(address, "/api/stats", Authorization=f"Bearer {token}")[0] == 200
    assert offline("access", "remove", "ci", "--file", path).status == 0
    assert offline("access", "remove", "ci", "--file", path).status == 1
    assert len(offline("access", "list", "--file", path, "-o", "json").data) == 1


def test_a_short_password_and_a_strange_name_are_refused(offline, tmp_path, monkeypatch) -> None:
    import io
    import sys

    path = tmp_path / "access.toml"
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert offline("access", "user", "alice", "--file", path).status == 2
    assert offline("access", "token", "a b", "--file", path).status == 2
    assert not path.exists()
