"""Parts of the monitor that need neither a terminal nor a database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.database.config import read_config
from awa_cli.feed import Feed
from awa_cli.tui.history import History, Visit
from awa_cli.tui.keys import check_keys, known_ids
from awa_cli.tui.saved_state import SavedState
from awa_cli.tui.widgets.cells import cell
from awa_cli.tui.widgets.charts import bars, resample
from awa_cli.views.alerts import find_alerts
from awa_lib.errors import InvalidInput, Unavailable
from awa_lib.reads.queues import QueueStat
from awa_lib.reads.runtime import RuntimeInstance

VALUES = st.lists(st.none() | st.floats(0, 1e9), max_size=40)


def stat(queue: str, **counts) -> QueueStat:
    names = [name for name in QueueStat.__dataclass_fields__ if name not in {"queue", "paused"}]
    values = dict.fromkeys(names, 0) | {"lag_seconds": None, "paused": False} | counts
    return QueueStat(queue, **values)


def worker(*queues: str, **more) -> RuntimeInstance:
    now = datetime.now(UTC)
    fields = {
        "instance_id": "i", "hostname": "h", "pid": 7, "version": "1", "storage_capability": "c",
        "started_at": now, "last_seen_at": now, "snapshot_interval_ms": 10_000, "stale": False,
        "healthy": True, "postgres_connected": True, "poll_loop_alive": True,
        "heartbeat_alive": True, "maintenance_alive": True, "shutting_down": False, "leader": True,
        "global_max_workers": None, "queues": [{"queue": name} for name in queues],
    }  # fmt: skip
    return RuntimeInstance(**{**fields, **more})


@pytest.mark.parametrize(
    ("queues", "fleet", "text"),
    [
        ([stat("email", available=1204)], [worker("other")], "email has 1,204 jobs and no worker"),
        ([stat("email", available=1)], [], "no worker is running, and 1 job could run"),
        ([], [worker(leader=False)], "no leader: nothing is promoted, rescued or cleaned up"),
        ([stat("a", available=3, paused=True)], [worker("a")], "a is paused, and 3 jobs could run"),
        ([], [worker(healthy=False)], "h:7 is degraded"),
        ([stat("a", available=1, lag_seconds=900)], [worker("a")], "the oldest job of a has waited 15m"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(queues, fleet, text) -> None:
    assert [text] == [alert.text for alert in find_alerts(queues, fleet)]


def test_nothing_is_wrong_with_a_queue_that_is_worked() -> None:
    assert [] == find_alerts([stat("a", available=5, lag_seconds=3.0)], [worker("a")])


@given(VALUES, st.integers(1, 8), st.booleans())
def test_bars_are_as_wide_as_values_and_as_high_as_asked(values, height, ascii_only) -> None:
    lines = bars(values, height, ascii_only=ascii_only)

    assert height == len(lines)
    assert {len(values)} == {len(line) for line in lines}
    assert not ascii_only or "".join(lines).isascii()


def test_the_highest_bar_is_full_and_a_small_one_is_not_nothing() -> None:
    assert ["█   ", "█▁ ▁"] == bars([1000, 1, None, 2], 2)
    assert ["#.  "] == bars([9.0, 0.1, 0.0, None], 1, ascii_only=True)


@given(VALUES, st.integers(1, 60))
def test_resampled_values_fill_the_width_and_keep_the_highest(values, width) -> None:
    found = resample(values, width)

    assert (width if values else 0) == len(found)
    assert max((v for v in values if v), default=0) == max((v for v in found if v), default=0)


@given(st.text(max_size=30), st.integers(0, 20), st.booleans())
def test_a_cell_has_its_width(text, width, right) -> None:
    from rich.cells import cell_len

    assert width == cell_len(cell(text, width, right=right))


def test_the_trail_goes_back_forward_and_out() -> None:
    history = History(Visit("overview"))
    jobs = history.go(Visit("jobs"))
    job = history.go(Visit("job", 42, jobs))

    assert ["jobs", "job"] == [visit.page_id for visit in job.path()]
    assert jobs is history.back()
    assert job is history.forward()
    assert None is history.forward()
    assert jobs is history.out()
    assert None is history.out()
    history.go(Visit("queues"))
    assert None is history.forward()


def test_a_hundred_stops_are_kept() -> None:
    history = History(Visit("overview"))
    for number in range(300):
        history.go(Visit("job", number))

    assert (100, 299) == (len(history.visits), history.current.subject)


async def test_a_feed_goes_on_after_a_loss_and_reads_nothing_while_held() -> None:
    answers = iter([Unavailable("gone"), 1, 2, 3])
    asked = 0

    async def read() -> int:
        nonlocal asked
        asked += 1
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    feed = Feed(read, 0.01)
    readings = aiter(feed)
    first, second = await anext(readings), await anext(readings)
    assert ("gone", 1) == (str(first.error), second.value)

    feed.hold()
    waiting = asyncio.ensure_future(anext(readings))
    await asyncio.sleep(0.05)
    assert (2, False) == (asked, waiting.done())
    feed.go_on()
    assert 2 == (await waiting).value
    await readings.aclose()


async def test_a_feed_that_is_hurried_does_not_wait() -> None:
    async def read() -> int:
        return 1

    feed = Feed(read, 3600)
    readings = aiter(feed)
    await anext(readings)
    waiting = asyncio.ensure_future(anext(readings))
    await asyncio.sleep(0)
    feed.hurry()
    async with asyncio.timeout(5):
        assert 1 == (await waiting).value
    await readings.aclose()


def test_memory_is_apart_for_each_database_and_survives_garbage(tmp_path) -> None:
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


def test_every_binding_has_a_name_of_its_own_or_shares_its_action() -> None:
    assert {"queue.pause", "go.jobs", "grid.down", "jobs.retry"} <= known_ids()


def test_a_key_for_nothing_is_refused_with_the_nearest_name(config) -> None:
    config.parent.mkdir(parents=True)
    config.write_text('[tui.keys]\n"queue.pauze" = "P"\n')

    with pytest.raises(InvalidInput) as caught:
        check_keys(read_config().tui.keys, known_ids())
    assert "did you mean 'queue.pause'?" == caught.value.hint


@pytest.mark.parametrize("text", ["tui = 3", "[tui]\nthem = 'x'", "[tui.keys]\na = 3"])
def test_a_bad_table_of_the_monitor_is_refused(config, text) -> None:
    config.parent.mkdir(parents=True)
    config.write_text(text)

    with pytest.raises(InvalidInput):
        read_config()


def test_ages_are_told_by_one_clock(monkeypatch) -> None:
    from awa_cli.views import words

    moment = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(words, "now", lambda: moment)

    assert "3m ago" == words.age(moment - timedelta(minutes=3))
