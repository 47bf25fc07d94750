"""The access file: what is refused in it, and its changes while a server runs."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest
from fix_web import web_client

from awa_cli.access import hash_password, read_access
from awa_cli.web.access_file import AccessFile
from awa_lib.errors import InvalidInput

FAR = "192.0.2.7"
HASH = hash_password("correct horse battery", b"0123456789abcdef")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def tokens(cli, tmp_path):
    """Two tokens, and the file that has them."""
    path = tmp_path / "access.toml"
    made = [cli("access", "token", name, "--file", str(path)).out.strip() for name in ("ci", "old")]
    return path, *made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_removed_token_is_refused_without_a_restart(database_url, cli, tokens) -> None:
    path, ci, old = tokens
    clock = Clock()
    access = AccessFile(path, clock=clock)
    async with web_client(database_url, peer=FAR, access=access) as client:
        assert (await client.get("/api/stats", headers=bearer(old))).status_code == 200

        removed = await asyncio.to_thread(cli, "access", "remove", "old", "--file", str(path))
        assert removed.status == 0
        clock.at += 1.0

        assert (await client.get("/api/stats", headers=bearer(old))).status_code == 401
        assert (await client.get("/api/stats", headers=bearer(ci))).status_code == 200


async def test_the_last_token_can_be_revoked(database_url, cli, tokens) -> None:
    path, ci, old = tokens
    clock = Clock()
    access = AccessFile(path, clock=clock)
    async with web_client(database_url, peer=FAR, access=access) as client:
        for name in ("ci", "old"):
            await asyncio.to_thread(cli, "access", "remove", name, "--file", str(path))
        clock.at += 1.0
        for token in (ci, old):
            assert (await client.get("/api/stats", headers=bearer(token))).status_code == 401


async def test_a_changed_password_is_not_remembered(
    database_url, cli, tmp_path, monkeypatch
) -> None:
    path = tmp_path / "access.toml"
    monkeypatch.setattr("sys.stdin", io.StringIO("first-secret\nother-secret\n"))
    again = ("access", "user", "ann", "--file", str(path))
    assert cli(*again).status == 0
    clock = Clock()
    access = AccessFile(path, clock=clock)
    async with web_client(database_url, peer=FAR, access=access) as client:
        client.auth = ("ann", "first-secret")
        assert (await client.get("/api/stats")).status_code == 200

        await asyncio.to_thread(cli, *again)
        clock.at += 1.0

        assert (await client.get("/api/stats")).status_code == 401
        client.auth = ("ann", "other-secret")
        assert (await client.get("/api/stats")).status_code == 200


def test_a_broken_file_changes_nothing_and_the_log_says_why(tokens, caplog) -> None:
    path, ci, _ = tokens
    clock = Clock()
    access = AccessFile(path, clock=clock)
    good = path.read_text()
    with caplog.at_level(logging.INFO, "awa_cli.web.access_file"):
        for broken in ("[tokens", '[users.x]\npassword = "hunter2"\nscope = "read"\n'):
            path.write_text(broken)
            clock.at += 1.0
            assert access().by_token(ci) is not None
        path.unlink()
        clock.at += 1.0
        assert access().by_token(ci) is not None

        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
        assert "stay in effect" in caplog.text
        assert "hunter2" not in caplog.text

        path.write_text(good)
        path.chmod(0o600)
        clock.at += 1.0
        assert access().by_token(ci) is not None
        assert caplog.records[-1].levelname == "INFO"


def test_the_file_is_looked_at_once_a_second(tokens) -> None:
    path, ci, _ = tokens
    clock = Clock()
    access = AccessFile(path, clock=clock)
    path.write_text("")
    clock.at += 0.9
    assert access().by_token(ci) is not None
    clock.at += 0.1
    assert access().by_token(ci) is None


async def test_a_live_stream_ends_when_the_file_changes(database_url, tokens) -> None:
    from awa_cli.web.events import Hub
    from awa_cli.web.settings import Settings
    from awa_cli.web.state import State

    path, *_ = tokens
    clock = Clock()
    state = State(database_url, Settings(access=AccessFile(path, clock=clock), event_seconds=0.05))
    try:
        stream = Hub(state).watch(["stats"])
        await anext(stream)
        await anext(stream)
        path.write_text("")
        clock.at += 1.0
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    finally:
        await state.close()


def test_a_file_that_others_may_write_is_refused(tmp_path) -> None:
    path = tmp_path / "access.toml"
    path.write_text(f'[users.alice]\npassword = "{HASH}"\nscope = "operate"\n')
    path.chmod(0o666)

    with pytest.raises(InvalidInput) as refused:
        read_access(path)
    assert refused.value.why == "others may write to it"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it admits nobody"),
        ("users = " + "9" * 5_000, "a number is too long"),
        ("x", "expected '='"),
        ("[user.alice]", "'user' is not users"),
        ('[users.alice]\npassword = "hunter2"\nscope = "read"', "is not a hash"),
        (f'[users.alice]\npassword = "{HASH}"\nscope = "admin"', "must be read or operate"),
        (f'[users.alice]\npassword = "{HASH}"', "must be read or operate"),
        ('[proxy]\nheader = "X"\nfrom = []\nscope = "read"', "must list addresses"),
        ('[proxy]\nheader = "X"\nfrom = ["10.0.0.1/8"]\nscope = "read"', "must list addresses"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(tmp_path, text, why) -> None:
    path = tmp_path / "access.toml"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(InvalidInput) as refused:
        read_access(path)
    assert why in refused.value.why
    assert "hunter2" not in f"{refused.value} {refused.value.why} {refused.value.hint}"
