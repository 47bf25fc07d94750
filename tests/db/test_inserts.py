"""Inserting: what is stored, what comes back, what is refused, on both clients and every path."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import awa_lib as awa
from awa_lib.ops import inserts

PATHS = ["insert", "insert_many", "insert_many_copy"]
AWKWARD = 'tab\t newline\n cr\r quote" back\\slash \\N {a,b} é 漢 \u2028 null'


@dataclass
class SendMail:
    to: str
    size: int = 1
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Tick:
    n: int


@pytest.fixture(params=PATHS)
def path(request, monkeypatch) -> str:
    """The way in; COPY is otherwise taken for more than a thousand jobs only."""
    if request.param == "insert_many_copy":
        monkeypatch.setattr(inserts, "_COPIED_FROM", 0)
    return request.param


async def add(client, path: str, args: Any, **options: Any) -> awa.Job:
    if path == "insert":
        return await client.insert(args, **options)
    (job,) = await getattr(client, path)([args], **options)
    return job


def seen(job: awa.Job) -> dict[str, Any]:
    names = (
        "id", "kind", "queue", "state", "priority", "attempt", "max_attempts", "run_lease", "args",
        "metadata", "tags", "errors", "progress", "run_at", "created_at", "finalized_at",
        "deadline",
    )  # fmt: skip
    found = {name: getattr(job, name) for name in names}
    # Read again, they are JSON data.
    return found | {"args": asdict(job.args) if is_dataclass(job.args) else job.args}


async def test_defaults_and_columns(client, path, look) -> None:
    job = await add(client, path, SendMail("a@example.org"))
    (row,) = look("SELECT * FROM awa.jobs_hot")

    assert row["run_at"] == row["created_at"]
    assert {key: row[key] for key in row if key not in {"id", "run_at", "created_at"}} == {
        "kind": "send_mail", "queue": "default", "state": "available", "priority": 2,
        "args": {"to": "a@example.org", "size": 1, "extra": {}}, "attempt": 0, "max_attempts": 25,
        "heartbeat_at": None, "deadline_at": None, "attempted_at": None, "finalized_at": None,
        "errors": [], "metadata": {}, "tags": [], "unique_key": None, "unique_states": None,
        "callback_id": None, "callback_timeout_at": None, "callback_filter": None,
        "callback_on_complete": None, "callback_on_fail": None, "callback_transform": None,
        "run_lease": 0, "progress": None,
    }  # fmt: skip
    assert job.id == row["id"]
    assert job.state is awa.JobState.Available


async def test_returned_job_is_the_one_read_back(client, path) -> None:
    job = await add(
        client, path, SendMail(AWKWARD, 2, {"deep": [1, None, {"x": 1.5}]}), kind="mail",
        queue="q", priority=1, max_attempts=3, tags=["a,b", 'c"d', "e\\f", AWKWARD, ""],
        metadata={"who": AWKWARD},
    )  # fmt: skip

    assert seen(job) == seen(await client.get_job(job.id))
    assert seen(job)["args"]["to"] == AWKWARD
    assert job.tags == ["a,b", 'c"d', "e\\f", AWKWARD, ""]
    assert job.metadata == {"who": AWKWARD}


async def test_awkward_kind_and_queue(client, path) -> None:
    job = await add(client, path, {}, kind="k\t\\'", queue='q"\n{}\\N')

    found = await client.get_job(job.id)
    assert (found.kind, found.queue) == ("k\t\\'", 'q"\n{}\\N')


async def test_future_run_at_is_scheduled(client, path, look) -> None:
    when = datetime(2999, 1, 2, 3, 4, 5, 678901, UTC)
    job = await add(client, path, Tick(1), run_at=when)
    (row,) = look("SELECT state::text, run_at FROM awa.scheduled_jobs")

    assert row == {"state": "scheduled", "run_at": when}
    assert (job.state, job.run_at) == (awa.JobState.Scheduled, when.isoformat())


async def test_past_run_at_is_available_at_once(client, path, look, heard) -> None:
    when = datetime(2020, 1, 1, tzinfo=UTC)
    job = await add(client, path, Tick(1), run_at=when)
    (row,) = look("SELECT state::text, run_at FROM awa.jobs_hot")

    assert row == {"state": "available", "run_at": when}
    assert (job.state, job.run_at) == (awa.JobState.Available, when.isoformat())
    assert heard() == [("awa:default", "")]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (datetime(2999, 1, 1, 10), "2999-01-01T10:00:00+00:00"),
        ("2999-01-01T10:00:00", "2999-01-01T10:00:00+00:00"),
        ("2999-01-01 10:00:00.25", "2999-01-01T10:00:00.250000+00:00"),
        ("2999-01-01T10:00:00Z", "2999-01-01T10:00:00+00:00"),
        ("2999-01-01t10:00:00.123456z", "2999-01-01T10:00:00.123456+00:00"),
        ("2999-01-01T10:00:00+02:00", "2999-01-01T08:00:00+00:00"),
    ],
)
async def test_run_at_forms(client, given, stored) -> None:
    job = await client.insert(Tick(1), run_at=given)

    assert job.run_at == stored
    assert (await client.get_job(job.id)).run_at == stored


async def test_notifies_the_queue_once(client, path, heard) -> None:
    await add(client, path, Tick(1), queue="q")
    await add(client, path, Tick(2), queue="q", run_at=datetime(2999, 1, 1, tzinfo=UTC))

    assert heard() == [("awa:q", "")]


@pytest.mark.parametrize("many", ["insert_many", "insert_many_copy"])
@pytest.mark.parametrize("count", [0, 1, 1000, 2501])
async def test_many_come_back_in_order(client, many, count, look) -> None:
    jobs = await getattr(client, many)([Tick(n) for n in range(count)], tags=["t"])
    stored = look("SELECT id, args, tags FROM awa.jobs_hot ORDER BY id")

    assert [job.args["n"] for job in jobs] == list(range(count))
    assert [(row["id"], row["args"]) for row in stored] == [(job.id, job.args) for job in jobs]
    assert all(row["tags"] == ["t"] for row in stored)


@pytest.mark.parametrize("many", ["insert_many", "insert_many_copy"])
async def test_mixed_classes_keep_their_kinds(client, many) -> None:
    jobs = await getattr(client, many)([Tick(1), SendMail("x"), {"n": 2}, Tick(3)])

    assert [job.kind for job in jobs] == ["tick", "send_mail", "dict", "tick"]
    assert [(await client.get_job(job.id)).kind for job in jobs] == [job.kind for job in jobs]


@pytest.mark.parametrize("many", ["insert_many", "insert_many_copy"])
async def test_many_takes_a_generator(client, many) -> None:
    jobs = await getattr(client, many)(Tick(n) for n in range(3))

    assert [job.args for job in jobs] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_jobs_of_one_call_share_nothing(client) -> None:
    first, second = await client.insert_many([Tick(1), Tick(2)], tags=["t"], metadata={"a": []})
    first.tags.append("mine")
    first.metadata["a"].append("mine")

    assert (second.tags, second.metadata) == (["t"], {"a": []})


async def test_unique_conflict_leaves_nothing(client, path, look) -> None:
    await client.insert(Tick(7), unique_opts={})
    with pytest.raises(awa.UniqueConflict) as caught:
        await add(client, path, Tick(7), unique_opts={})

    assert caught.value.constraint == "idx_awa_jobs_unique"
    assert look("SELECT count(*) AS n FROM awa.jobs") == [{"n": 1}]


@pytest.mark.parametrize("many", ["insert_many", "insert_many_copy"])
async def test_unique_conflict_in_the_last_chunk_undoes_the_first(client, many, look) -> None:
    with pytest.raises(awa.UniqueConflict):
        await getattr(client, many)([*map(Tick, range(1500)), Tick(0)], unique_opts={})

    assert look("SELECT count(*) AS n FROM awa.jobs") == [{"n": 0}]
    assert look("SELECT count(*) AS n FROM awa.job_unique_claims") == [{"n": 0}]


async def test_unique_key_is_the_published_one(client, path, look) -> None:
    await add(client, path, {"b": 1, "a": {"z": 1.0, "y": [1, 2, None, True]}}, kind="uk",
              unique_opts={})  # fmt: skip
    (row,) = look("SELECT encode(unique_key, 'hex') AS k, unique_states::text AS s FROM awa.jobs")

    assert row == {"k": "6d7c54bdb988c40ea20e2de82fac8aef", "s": "11111000"}


async def test_unique_options(client) -> None:
    options = {"by_queue": True, "by_args": False, "by_period": 5, "states": 2}
    first = await client.insert(Tick(1), queue="a", unique_opts=options)
    await client.insert(Tick(2), queue="b", unique_opts=options)
    await client.insert(Tick(1), queue="a", unique_opts={**options, "by_period": 6})
    with pytest.raises(awa.UniqueConflict):
        await client.insert(Tick(2), queue="a", unique_opts=options)
    await client.cancel(first.id)

    assert (await client.insert(Tick(2), queue="a", unique_opts=options)).id > first.id


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": ""}, "kind"),
        ({"kind": "k" * 201}, "kind"),
        ({"kind": "a\x00b"}, "kind"),
        ({"kind": 5}, "kind"),
        ({"kind": "\ud800"}, "kind"),
        ({"queue": "q" * 201}, "queue"),
        ({"queue": "a\x00"}, "queue"),
        ({"queue": None}, "queue"),
        ({"priority": 0}, "priority"),
        ({"priority": 5}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": "2"}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1001}, "max_attempts"),
        ({"max_attempts": 2.0}, "max_attempts"),
        ({"tags": "abc"}, "tags"),
        ({"tags": ["x"] * 21}, "tags"),
        ({"tags": ["a\x00"]}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "{}"}, "metadata"),
        ({"run_at": "tomorrow"}, "run_at"),
        ({"run_at": "2999-13-01T00:00:00Z"}, "run_at"),
        ({"run_at": "2999-01-01"}, "run_at"),
        ({"run_at": 5}, "run_at"),
        ({"unique_opts": []}, "unique_opts"),
        ({"unique_opts": {"by_arg": True}}, "by_arg"),
        ({"unique_opts": {"states": 256}}, "states"),
    ],
)
async def test_bad_options_are_refused(client, path, options, field, look) -> None:
    with pytest.raises(awa.ValidationError, match=field):
        await add(client, path, Tick(1), **options)

    assert look("SELECT count(*) AS n FROM awa.jobs") == [{"n": 0}]


@pytest.mark.parametrize(
    ("args", "where"),
    [
        ({"a": {"b": [1, float("nan")]}}, r"args\.a\.b\[1\]"),
        ({"a": float("inf")}, r"args\.a"),
        ({"a": [{"b": "x\x00y"}]}, r"args\.a\[0\]\.b"),
        ({"\x00": 1}, "args"),
        ({"a": 2**64}, r"args\.a"),
        ({"a": "\ud800"}, r"args\.a"),
        ({"a": object()}, r"args\.a"),
    ],
)
async def test_unreadable_values_are_refused_with_their_path(client, path, args, where) -> None:
    with pytest.raises(awa.SerializationError, match=where):
        await add(client, path, args)


@pytest.mark.parametrize("args", [[1], "text", None, 5, Tick])
async def test_args_of_another_shape_are_refused(client, args) -> None:
    with pytest.raises(awa.ValidationError, match="Job args must be"):
        await client.insert(args)


async def test_nan_in_metadata_is_refused(client, path) -> None:
    with pytest.raises(awa.SerializationError, match=r"metadata\.x"):
        await add(client, path, Tick(1), metadata={"x": float("nan")})


@pytest.mark.parametrize("length", [200, 60])
async def test_long_names_are_accepted(client, path, length) -> None:
    job = await add(client, path, {}, kind="k" * length, queue="é" * length)

    assert (await client.get_job(job.id)).queue == "é" * length


@pytest.mark.parametrize("many", [*PATHS])
async def test_another_engine_takes_the_writes(client, many, look) -> None:
    """Such inserts go through insert_job_compat, which a later release reroutes."""
    look("UPDATE awa.storage_transition_state SET state = 'active', prepared_engine = 'other'")
    with pytest.raises(awa.DatabaseError, match="is not writable") as caught:
        await add(client, many, Tick(1))
    assert caught.value.sqlstate == "55000"

    look("""
        CREATE OR REPLACE FUNCTION awa.assert_writable_canonical_storage() RETURNS boolean
        LANGUAGE sql AS 'SELECT true'
    """)
    job = await add(client, many, Tick(2), queue="q", tags=["t"], metadata={"m": 1},
                    run_at=datetime.now(UTC) + timedelta(days=1))  # fmt: skip

    assert seen(job) == seen(await client.get_job(job.id))
    assert job.state is awa.JobState.Scheduled


def test_another_engine_takes_each_way_of_writing(database_url, look) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    look("UPDATE awa.storage_transition_state SET state = 'active', prepared_engine = 'other'")
    with awa.Client(database_url) as client:
        for jobs, options in (([Tick(1)], {}), ([Tick(1)] * 2, {}), ([Tick(1)], {"run_at": later})):
            with pytest.raises(awa.DatabaseError, match="is not writable"):
                client.insert_many(jobs, **options)

    assert look("SELECT id FROM awa.jobs") == []


async def test_copy_falls_back_in_chunks(client, look) -> None:
    look("UPDATE awa.storage_transition_state SET state = 'active', prepared_engine = 'other'")
    look("""
        CREATE OR REPLACE FUNCTION awa.assert_writable_canonical_storage() RETURNS boolean
        LANGUAGE sql AS 'SELECT true'
    """)
    jobs = await client.insert_many_copy([Tick(n) for n in range(1200)])

    assert [job.args["n"] for job in jobs] == list(range(1200))
    assert [job.id for job in jobs] == sorted(job.id for job in jobs)


async def test_another_engine_takes_copies_too(client, look) -> None:
    look("UPDATE awa.storage_transition_state SET state = 'active', prepared_engine = 'other'")
    with pytest.raises(awa.DatabaseError, match="is not writable"):
        await client.insert_many_copy([Tick(n) for n in range(1200)])

    assert look("SELECT id FROM awa.jobs") == []
