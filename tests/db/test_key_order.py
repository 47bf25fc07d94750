"""Unique keys are claimed in one order, so that producers wait for each other and go on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import awa_lib as awa


@pytest.fixture(scope="module")
def producers(postgres, template):
    """Two clients of a database that looks for deadlocks at once, with small statements."""
    with postgres.database(template) as url, pytest.MonkeyPatch.context() as patch:
        for module in ("inserts", "conflicts"):
            patch.setattr(f"awa_lib.ops.{module}.ROWS_PER_STATEMENT", 3)
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '5ms'")
        with awa.Client(url, 1) as first, awa.Client(url, 1) as second, ThreadPoolExecutor(2) as p:
            yield first, second, p


class Undo(Exception):
    pass


def insert_and_undo(client: awa.Client, gate, keys, options) -> list[dict]:
    jobs = [
        awa.NewJob({"n": key}, run_at="2999-01-01T00:00:00Z" if later else None)
        for key, later in keys
    ]
    made: list[awa.Job] = []
    gate.wait(10)
    with suppress(Undo), client.transaction() as tx:
        made = tx.insert_many(jobs, kind="u", unique_opts={}, **options)
        raise Undo
    assert [job.id for job in made] == sorted(job.id for job in made)
    return [job.args for job in made]


KEYS = st.lists(
    st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=10, unique_by=lambda k: k[0]
)


@given(KEYS, KEYS, st.sampled_from([{}, {"on_conflict": "skip"}]))
@settings(max_examples=40)
def test_two_producers_never_deadlock(producers, mine, theirs, options) -> None:
    first, second, threads = producers
    gate = threading.Barrier(2)
    done = [
        threads.submit(insert_and_undo, client, gate, keys, options)
        for client, keys in ((first, mine), (second, theirs))
    ]

    assert done[0].result(20) == [{"n": key} for key, _ in mine]
    assert done[1].result(20) == [{"n": key} for key, _ in theirs]


async def test_ids_follow_the_jobs_and_not_their_keys(client) -> None:
    made = await client.insert_many([{"n": n} for n in range(2500)], kind="u", unique_opts={})
    more = await client.insert_many(
        [{"n": n} for n in range(1000, 4000)], kind="u", unique_opts={}, on_conflict="skip"
    )

    assert [job.args["n"] for job in made] == list(range(2500))
    assert [job.args["n"] for job in more] == list(range(2500, 4000))
    for jobs in (made, more):
        assert [job.id for job in jobs] == sorted(job.id for job in jobs)
    assert [(await client.get_job(job.id)).args for job in made[::500]] == [
        job.args for job in made[::500]
    ]


@pytest.mark.parametrize("places", [(5, 1400), (1200, 1201)])
async def test_conflict_among_many_jobs_names_the_places(client, look, places) -> None:
    jobs = [{"n": n} for n in range(1500)]
    jobs[places[1]] = jobs[places[0]]
    with pytest.raises(awa.UniqueConflict, match=f"positions {places[0]} and {places[1]}"):
        await client.insert_many(jobs, kind="u", unique_opts={})
    assert look("SELECT count(*) AS n FROM awa.jobs") == [{"n": 0}]
