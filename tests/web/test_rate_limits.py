"""The limits on the rate of changes."""

from __future__ import annotations

from fix_web import web_client

from awa_cli.web import rate_limits


async def test_too_many_changes_are_slowed_down(database_url, monkeypatch) -> None:
    monkeypatch.setattr("awa_cli.web.guard._CHANGE_LIMIT", (0.01, 3))
    async with web_client(database_url) as api:
        codes = [(await api.post("/api/queues/q/resume")).status_code for _ in range(4)]
        looked = await api.get("/api/stats")

    assert codes == [200, 200, 200, 429]
    assert looked.status_code == 200


def test_buckets_are_forgotten_and_fill_again(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(rate_limits.time, "monotonic", lambda: now)
    buckets = rate_limits.Buckets(1, 2)

    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    now = 1.0
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    for number in range(20_000):
        buckets.take(str(number))
    assert len(buckets._left) == 10_000
