"""Failures over the API and on the pages, as their answers say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fix_web import web_client
from psycopg.types.json import Jsonb

import awa_lib as awa
from awa_cli.access import Access, hash_token
from awa_lib.db.drive import run
from awa_lib.ops.failures import EndCount, Sighting, count_ends
from awa_lib.telemetry.failures import Group

PAGE = {"Accept": "text/html"}
DOWN = Group.build("shop.MailDown", "mail server 'mx1' is down", ("shop/mail.py send",))
SLOW = Group.build("shop.Slow", "the bank did not answer", ("shop/bank.py ask",))
JOB = """
INSERT INTO awa.jobs_hot (kind, queue, state, attempt, max_attempts, args, finalized_at, errors)
VALUES (%s, 'mail', 'failed', 1, 1, '{}', now(), ARRAY[%s]::jsonb[]) RETURNING id
"""


class Shop:
    """A database with failures."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    def fail(self, group: Group, count: int = 1, *, kind: str = "send", rows: bool = True) -> None:
        """Let jobs fail as a worker would write and count them."""
        error = {"error": f"{group.error_type}: {group.message}", "attempt": 1}
        for _ in range(count if rows else 0):
            self.conn.execute(JOB, [kind, Jsonb({**error, "failure": group.id})])
        ends = [EndCount(0, "mail", kind, "failed", group.id, count)]
        run(self.conn, count_ends(ends, [Sighting(group, kind, 1)], version="2.1"))

    def fail_in_rows(self, kind: str, text: str) -> int:
        """Let a job fail as a worker of awa 0.5 writes it."""
        error = Jsonb({"error": text, "attempt": 1})
        return self.conn.execute(JOB, [kind, error]).fetchone()[0]  # type: ignore[index]

    def states(self) -> dict[str, int]:
        rows = self.conn.execute("SELECT state::text, count(*) FROM awa.jobs GROUP BY 1")
        return dict(rows.fetchall())


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield Shop(conn)


async def test_the_api_lists_shows_retries_and_mutes(api, shop, database_url) -> None:
    shop.fail(DOWN, 3)
    shop.fail(SLOW, 1, kind="charge")
    with awa.Client(database_url) as client:
        client.bulk_move_failed_to_dlq(kind="charge", reason="given up")

    first, second = (await api.get("/api/failures", params={"since": "1h"})).json()
    assert (first["id"], first["failed"], first["first_version"]) == (DOWN.id, 3, "2.1")
    assert [second["id"]] == [
        one["id"] for one in (await api.get("/api/failures?kind=charge")).json()
    ]
    shown = (await api.get(f"/api/failures/{DOWN.id}")).json()
    assert (shown["failure"]["frames"], len(shown["jobs"])) == (["shop/mail.py send"], 3)

    preview = await api.post(f"/api/failures/{DOWN.id}/retry/preview")
    assert preview.json() == {"jobs": 3, "dead_letters": 0, "sample": [1, 2, 3]}
    retried = (await api.post(f"/api/failures/{DOWN.id}/retry")).json()
    assert (retried["operation"]["total_matched"], retried["dead_letters"]) == (3, 0)
    again = (await api.post(f"/api/failures/{SLOW.id}/retry")).json()
    assert again == {"operation": None, "dead_letters": 1}
    assert shop.states() == {"failed": 3, "available": 1}

    muted = (await api.post(f"/api/failures/{DOWN.id}/mute")).json()
    assert muted["muted_until"] is not None
    assert [one["id"] for one in (await api.get("/api/failures")).json()] == [SLOW.id]
    assert len((await api.get("/api/failures?muted=true")).json()) == 2
    assert (await api.post(f"/api/failures/{DOWN.id}/unmute")).json()["muted_until"] is None
    noted = shop.conn.execute("SELECT action FROM awa.audit_log ORDER BY id").fetchall()
    log = (await api.get("/audit", headers=PAGE)).text
    assert f'<a href="/failures/{DOWN.id}">' in log
    # A bulk change has two entries: that it began, and how it ended.
    assert [one[0] for one in noted] == [
        "failure.retry", "dlq.retry-all", "dlq.retry-all", "failure.mute", "failure.unmute"
    ]  # fmt: skip


async def test_an_unknown_failure_is_not_found(api) -> None:
    for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/mute"), ("POST", "/unmute")):
        answer = await api.request(method, f"/api/failures/nothing{path}")
        assert answer.status_code == 404
    assert (await api.get("/failures/nothing", headers=PAGE)).status_code == 404
    assert (await api.get("/api/failures?since=soon")).status_code == 422


async def test_the_list_says_how_often_where_and_since_when(api, shop) -> None:
    shop.fail(DOWN, 2_000, rows=False)
    shop.fail(SLOW, 5, kind="charge", rows=False)

    text = (await api.get("/failures", headers=PAGE)).text
    assert text.index("2,000 ×") < text.index("5 ×")
    assert "<b>MailDown</b> mail server &#39;...&#39; is down" in text
    assert "since version 2.1" in text
    assert f'href="/failures/{DOWN.id}"' in text
    assert "2,000 failed attempts in 1d" in text
    narrow = (await api.get("/failures?kind=charge&since=1h", headers=PAGE)).text
    assert "MailDown" not in narrow
    assert "awa failure list --kind charge --since 1h" in narrow


async def test_failures_that_only_rows_show_are_listed_too(api, shop) -> None:
    """Workers of awa 0.5 count no ends, and their errors name no failure."""
    shop.fail(DOWN)
    shop.fail_in_rows("old", "smtp 1 is away")
    last = shop.fail_in_rows("old", "smtp 2 is away")

    for path in ("/failures", "/", "/queues/mail", "/kinds/old"):
        text = (await api.get(path, headers=PAGE)).text
        assert "2 ×" in text, path
        assert "smtp &lt;n&gt; is away" in text, path
        assert f'href="/jobs/{last}"' in text, path
        assert "not grouped" in text, path
    assert "smtp" not in (await api.get("/failures?kind=send", headers=PAGE)).text


async def test_a_muted_failure_is_left_out(api, shop) -> None:
    shop.fail(DOWN)
    shop.fail(SLOW)
    await api.post(f"/api/failures/{DOWN.id}/mute")

    text = (await api.get("/failures", headers=PAGE)).text
    assert "MailDown" not in text
    assert "muted until" in (await api.get("/failures?muted=true", headers=PAGE)).text
    badge = re.search(r'data-badge="failures" title="([^"]*)">(\d+)<', text)
    assert badge is not None
    assert badge.groups() == ("1 failure in the last hour", "1")


async def test_the_dialog_counts_before_it_asks(api, shop) -> None:
    shop.fail(DOWN, 2)
    dialog = (await api.get(f"/failures/{DOWN.id}/retry")).text
    assert "Retry 2 failed jobs?" in dialog
    shop.conn.execute("DELETE FROM awa.jobs_hot")

    empty = (await api.get(f"/failures/{DOWN.id}/retry")).text
    assert "nothing to retry" in empty
    assert 'value="yes"' not in empty


async def test_who_may_only_read_changes_nothing(database_url, shop) -> None:
    shop.fail(DOWN)
    access = Access(tokens={hash_token("rd"): ("rd", "read")})
    headers = {"Authorization": "Bearer rd"}
    async with web_client(database_url, access=access) as client:
        for verb in ("retry", "mute", "unmute"):
            answer = await client.post(f"/api/failures/{DOWN.id}/{verb}", headers=headers)
            assert answer.status_code == 403
        assert (
            await client.post(f"/api/failures/{DOWN.id}/retry/preview", headers=headers)
        ).status_code == 200
        text = (await client.get(f"/failures/{DOWN.id}", headers=headers | PAGE)).text
    buttons = [one for one in re.findall(r"<button[^>]*>", text) if "/failures/" in one]
    assert len(buttons) == 2
    assert all(" disabled" in one for one in buttons)
    assert shop.states() == {"failed": 1}
