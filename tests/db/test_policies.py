"""What is stored about queues, on both clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from fix_wait import eventually

import awa_lib as awa
from awa_lib.config.queues import QueueOptions, RateLimit, Retention
from awa_lib.db.drive import run
from awa_lib.ops import claims, maintenance
from awa_lib.validation import LONGEST_HOURS

SETTINGS = {
    "max_running": 5, "max_running_per_key": 2, "rate_limit": (2.5, 0), "poll_interval_ms": 50,
    "claim_batch": 7, "deadline_seconds": 0, "completed_retention_hours": 1.5,
    "failed_retention_hours": 0,
}  # fmt: skip


async def test_what_is_set_is_kept(client) -> None:
    made = await client.set_queue_policy("q", **SETTINGS)

    assert made == await client.get_queue_policy("q")
    assert (made.max_running, made.max_running_per_key, made.claim_batch) == (5, 2, 7)
    assert (made.max_rate, made.burst, made.poll_interval_ms) == (2.5, 3, 50)
    assert (made.deadline_seconds, made.dead_letters) == (0, False)
    assert (made.completed_retention_hours, made.failed_retention_hours) == (1.5, 0)
    assert made.updated_at is not None


async def test_what_is_left_out_stays_and_none_takes_back(client) -> None:
    await client.set_dead_letters("q", True)
    await client.set_queue_policy("q", max_running=5, rate_limit=(1, 1))
    await client.set_queue_policy("q", claim_batch=3)
    changed = await client.set_queue_policy("q", max_running=None, rate_limit=None)

    assert (changed.max_running, changed.max_rate, changed.burst) == (None, None, None)
    assert (changed.claim_batch, changed.dead_letters) == (3, True)


async def test_nothing_stored_is_an_empty_policy(client) -> None:
    assert await client.get_queue_policy("q") == awa.QueuePolicy("q")
    assert await client.list_queue_policies() == []


async def test_policies_are_listed_by_name(client) -> None:
    for name in ("b", "a", "c"):
        await client.set_queue_policy(name, max_running=1)

    assert [one.queue for one in await client.list_queue_policies()] == ["a", "b", "c"]
    assert [one.queue for one in await client.list_queue_policies(["c", "x"])] == ["c"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "nothing to change"),
        ({"max_runing": 1}, "unknown queue setting 'max_runing'"),
        ({"max_running": -1}, "max_running must be a whole number from 0 to 2147483647: -1"),
        ({"max_running": True}, "max_running must be a whole number from 0 to 2147483647: True"),
        ({"max_running": 2**31}, "max_running must be a whole number from 0"),
        ({"max_running_per_key": 0}, "max_running_per_key must be a whole number from 1"),
        ({"poll_interval_ms": 0.5}, "poll_interval_ms must be a whole number from 1"),
        ({"claim_batch": "9"}, "claim_batch must be a whole number from 1"),
        ({"deadline_seconds": -1}, "deadline_seconds must be a number of at least 0: -1"),
        ({"deadline_seconds": float("inf")}, "deadline_seconds must be a number of at least 0"),
        ({"failed_retention_hours": "1"}, "failed_retention_hours must be a number of at least 0"),
        ({"rate_limit": 3}, "rate_limit must be a (max_rate, burst) pair: 3"),
        (
            {"deadline_seconds": 1e300},
            "deadline_seconds must be at most 316224000, ten years: 1e+300",
        ),
        ({"poll_interval_ms": 10**9}, "poll_interval_ms must be a whole number from 1 to 86400000"),
        ({"rate_limit": (1e300, 3)}, "rate_limit max_rate must be a number from 1e-06 to 1e+09"),
        ({"rate_limit": (1e-300, 3)}, "rate_limit max_rate must be a number from 1e-06 to 1e+09"),
        ({"completed_retention_hours": float("nan")}, "must be a number of at least 0: nan"),
        ({"rate_limit": (0, 3)}, "rate_limit max_rate must be more than 0"),
        ({"rate_limit": (1, -3)}, "rate_limit burst must be a whole number from 0"),
    ],
)
async def test_bad_settings_are_said_and_change_nothing(client, changes, sentence) -> None:
    with pytest.raises(awa.ValidationError) as caught:
        await client.set_queue_policy("q", **{"completed_retention_hours": 9, **changes}
                                      if changes else {})  # fmt: skip

    assert sentence in str(caught.value)
    assert await client.list_queue_policies() == []


async def test_for_ever_is_a_hundred_years(client) -> None:
    made = await client.set_queue_policy(
        "q", completed_retention_hours=1e9, failed_retention_hours=1e300
    )

    assert made.completed_retention_hours == made.failed_retention_hours == LONGEST_HOURS


async def test_a_row_written_by_hand_does_not_hide_the_others(client, db) -> None:
    await client.set_queue_policy("a", max_running=1)
    await client.set_queue_policy("b", max_running=1)
    db.execute("UPDATE awa.queue_policies SET updated_at = 'infinity' WHERE queue = 'a'")

    a, b = await client.list_queue_policies()

    assert (a.updated_at, a.max_running, b.max_running) == (None, 1, 1)


def test_what_a_hand_has_written_is_clamped_where_it_is_used() -> None:
    odd = awa.QueuePolicy(
        "q", max_running=-5, max_running_per_key=0, max_rate=1e300, burst=-1, poll_interval_ms=-1,
        claim_batch=0, deadline_seconds=1e300, completed_retention_hours=1e300,
        failed_retention_hours=float("inf"),
    )  # fmt: skip
    plain = odd.clamped()

    assert (plain.max_running, plain.max_running_per_key, plain.burst) == (0, 1, 1)
    assert (plain.poll_interval_ms, plain.claim_batch) == (1, 1)
    assert timedelta(seconds=plain.deadline_seconds)
    options = odd.over(QueueOptions("q", 1))
    assert options.rate_limit == RateLimit(1e9, 1)
    assert timedelta(seconds=options.deadline_seconds)
    kept = odd.kept(Retention(1, 1))
    assert kept.completed_hours == kept.failed_hours == LONGEST_HOURS
    assert (
        replace(odd, completed_retention_hours=float("nan")).kept(Retention(7)).completed_hours == 7
    )
    with pytest.raises(awa.ValidationError, match="deadline_seconds of queue 'q' is not a number"):
        replace(odd, deadline_seconds=float("nan")).clamped()


@pytest.mark.parametrize("queue", ["", "x" * 201, 5])
async def test_bad_queue_names(client, queue) -> None:
    with pytest.raises(awa.ValidationError, match="queue must"):
        await client.set_queue_policy(queue, max_running=1)


async def test_near_setting_is_named(client) -> None:
    with pytest.raises(awa.ValidationError) as caught:
        await client.set_queue_policy("q", max_runing=1)

    assert caught.value.hint == "did you mean: max_running"


# -- concurrency keys


async def test_key_is_kept_in_the_metadata(client, look) -> None:
    job = await client.insert({"n": 1}, kind="k", metadata={"a": 1}, concurrency_key="c1")
    await client.insert_many([{"n": 1}], kind="k", concurrency_key="c2")
    await client.insert_many(
        [awa.NewJob({}, concurrency_key="own"), awa.NewJob({}, metadata={"b": 2}), {}],
        kind="k", metadata={"a": 1}, concurrency_key="shared",
    )  # fmt: skip
    await client.insert_many_copy([{}] * 1001, kind="many", concurrency_key="c3")
    await client.enqueue_many_copy([{}] * 3, kind="stream", concurrency_key="c4")

    key = "_awa_concurrency_key"
    assert job.metadata == {"a": 1, key: "c1"}
    found = look("SELECT metadata AS m FROM awa.jobs WHERE kind = 'k' ORDER BY id")
    assert [row["m"] for row in found] == [
        {"a": 1, key: "c1"}, {key: "c2"}, {"a": 1, key: "own"}, {"b": 2, key: "shared"},
        {"a": 1, key: "shared"},
    ]  # fmt: skip
    assert look(f"SELECT kind, metadata ->> '{key}' AS k, count(*) AS n FROM awa.jobs"
                " WHERE kind <> 'k' GROUP BY 1, 2 ORDER BY 1") == [
        {"kind": "many", "k": "c3", "n": 1001}, {"kind": "stream", "k": "c4", "n": 3},
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["", "x" * 201, 7, "a\x00b"])
async def test_bad_keys_are_said_and_insert_nothing(client, look, key) -> None:
    with pytest.raises(awa.ValidationError, match="concurrency_key"):
        await client.insert({}, kind="k", concurrency_key=key)

    assert look("SELECT id FROM awa.jobs") == []


# -- claims within limits, one after the other


@pytest.fixture
def claim(look):
    """Claim as a worker of kind k does; return (id, key)s in run order."""

    def claim(limit: int = 100, kinds=("k",)) -> list[int]:
        rows = run(look.conn, claims.claim("q", list(kinds), limit, None, lease=1, limited=True))
        return [row[0] for row in rows]

    return claim


def keyed(put, *keys: str | None, **columns) -> list[int]:
    return [
        put(**{
            "queue": "q", "kind": "k",
            "metadata": "{}" if key is None else f'{{"_awa_concurrency_key": "{key}"}}', **columns,
        })["id"]
        for key in keys
    ]  # fmt: skip


async def test_at_most_so_many_of_a_queue(client, put, claim, look) -> None:
    await client.set_queue_policy("q", max_running=3)
    ids = keyed(put, *[None] * 5)
    first, second = claim(2), claim(9)
    look("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()"
         f" WHERE id = {ids[0]} RETURNING id")  # fmt: skip

    assert (first, second, claim()) == (ids[:2], ids[2:3], ids[3:4])


async def test_nought_lets_nothing_start(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running=0)
    keyed(put, None)

    assert claim() == []


async def test_at_most_so_many_of_a_key_and_any_without(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running_per_key=2)
    a1, a2, _, n1, b1, n2 = keyed(put, "a", "a", "a", None, "b", None)

    assert (claim(), claim()) == ([a1, a2, n1, b1, n2], [])


async def test_both_limits(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running=3, max_running_per_key=1)
    a, _, b, c, _ = keyed(put, "a", "a", "b", "c", "d")

    assert (claim(), claim()) == ([a, b, c], [])


async def test_urgent_jobs_come_first(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running_per_key=1)
    late, urgent = keyed(put, "a")[0], keyed(put, "a", priority=1)[0]

    assert claim() == [urgent] != [late]


async def test_a_flood_of_one_key_does_not_starve_the_others(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running_per_key=1)
    flood = await client.insert_many(
        [{}] * 500, kind="k", queue="q", priority=1, concurrency_key="flood"
    )
    others = keyed(put, "b", "c", "d", "zz", priority=4)

    assert claim(3) == [flood[0].id, *others[:2]]
    # The walk goes on where it ended, round the keys.
    assert claim(1) == others[2:3]
    early = keyed(put, "a", priority=4)
    assert (claim(1), claim(1), claim(1)) == (others[3:], early, [])


async def test_a_flood_of_one_key_does_not_starve_jobs_without_one(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running_per_key=1)
    flood = [awa.NewJob({}, concurrency_key="flood")] * 12_000
    await client.insert_many_copy(flood, kind="k", queue="q", priority=1)
    free = keyed(put, *[None] * 3, priority=4)
    key = keyed(put, "b", priority=4)
    found = [job for _ in range(60) for job in claim(2)]

    assert sorted(found[1:]) == sorted(free + key)
    assert found[1:].index(key[0]) < 3  # the keys get their turn among those without


async def test_keys_of_foreign_kinds_are_left(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running_per_key=1)
    await client.insert_many([{}] * 99, kind="k", queue="q", concurrency_key="m")
    keyed(put, "a", "z", kind="foreign")
    mine = keyed(put, "b")

    assert claim(9)[1:] == mine
    assert claim(9) == []


async def test_paused_queue_gives_none(client, put, claim) -> None:
    await client.set_queue_policy("q", max_running=3)
    keyed(put, None)
    await client.pause_queue("q")

    assert claim() == []


async def test_claims_of_one_queue_wait_for_each_other(client, put, claim, database_url) -> None:
    await client.set_queue_policy("q", max_running=1)
    keyed(put, None, None)
    with psycopg.connect(database_url) as other:
        run(other, claims.claim("q", ["k"], 9, None, lease=1, limited=True))
        with pytest.raises(psycopg.errors.LockNotAvailable), psycopg.connect(database_url) as late:
            late.execute("SET lock_timeout = '50ms'")
            late.execute("SELECT * FROM awa.claim_within_limits('q', '{k}', 9, NULL)")
        other.commit()

    assert claim() == []


async def test_a_claim_that_waited_counts_what_the_other_took(
    client, put, claim, database_url
) -> None:
    """It began before the other was committed."""
    await client.set_queue_policy("q", max_running=1)
    keyed(put, None, None)
    with psycopg.connect(database_url) as other, ThreadPoolExecutor() as threads:
        run(other, claims.claim("q", ["k"], 9, None, lease=1, limited=True))
        waiting = threads.submit(claim)
        waits = "wait_event_type = 'Lock' AND datname = current_database()"
        eventually(lambda: other.execute(f"SELECT FROM pg_stat_activity WHERE {waits}").fetchall())
        other.commit()

        assert waiting.result() == []


async def test_a_dead_process_keeps_no_slot(client, put, claim, look, database_url) -> None:
    await client.set_queue_policy("q", max_running=1)
    first, second = keyed(put, None, None)
    assert (claim(), claim()) == ([first], [])
    look("UPDATE awa.jobs_hot SET heartbeat_at = now() - interval '91 s' WHERE state = 'running'")
    with psycopg.connect(database_url, autocommit=True) as leader:
        run(leader, maintenance.rescue([first], "heartbeat", maintenance.Pulse(30, 90)))

    assert claim() == [second]


async def test_a_flood_without_keys_does_not_starve_a_key(client, put, claim, look) -> None:
    """Behind a busy head; they get all the room, or half of it, by chance."""
    await client.set_queue_policy("q", max_running=3, max_running_per_key=1)
    await client.insert_many([{}] * 60, kind="k", queue="q", priority=1, concurrency_key="flood")
    keyed(put, *[None] * 100, priority=2)
    key = keyed(put, "b", priority=4)
    claim(1)
    for _ in range(30):
        if key[0] in claim(2):
            break
        look("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()"
             " WHERE state = 'running' AND NOT metadata ? '_awa_concurrency_key' RETURNING id")  # fmt: skip
    else:
        pytest.fail("the key got no turn")


@pytest.mark.parametrize("index", ["awa_jobs_hot_running_by_queue", "awa_jobs_hot_claim_by_key"])
async def test_indexes_fit_what_the_function_asks(look, index) -> None:
    key = "(metadata ->> '_awa_concurrency_key') COLLATE \"C\""
    asked = {
        "awa_jobs_hot_running_by_queue":
            "SELECT count(*) FROM awa.jobs_hot WHERE state = 'running' AND queue = 'q'",
        "awa_jobs_hot_claim_by_key":
            f"SELECT {key} FROM awa.jobs_hot WHERE state BETWEEN 'available' AND 'available'"
            f" AND queue = 'q' AND metadata ? '_awa_concurrency_key' AND {key} > 'a'"
            f" ORDER BY {key} LIMIT 1",
    }[index]  # fmt: skip
    look("SELECT set_config('enable_seqscan', 'off', false)")
    plan = "\n".join(row["QUERY PLAN"] for row in look(f"EXPLAIN {asked}"))

    assert index in plan
    assert "Sort" not in plan
