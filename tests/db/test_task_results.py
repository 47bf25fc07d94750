"""Results of the tasks of a workflow: of one, of a group as a list, and one by one in pages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from fix_clients import make_client

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.reads import task_results
from awa_lib.reads.task_results import GroupResults

MEBIBYTE = 1 << 20
Grouped = Callable[..., int]


@dataclass
class Part:
    size: int


@pytest.fixture
def grouped(database_url: str, look) -> Grouped:
    """Insert a workflow with a group whose tasks have these results; return its id."""

    def grouped(*values: str | None, ttl: str = "1 day", size: int | None = None) -> int:
        with awa.Client(database_url) as client, client.workflow("import") as flow:
            flow.add({}, kind="fetch", name="fetch", signal="go")
            parts = flow.add_many([{"n": n} for n in range(len(values))], kind="part", name="parts")
            flow.add({}, kind="total", name="total", after=parts)
        for job_id, value in zip(parts.job_ids, values, strict=True):
            if value is not None:
                look(
                    "INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)"
                    " VALUES (%s, %s, %s, now() + %s::interval, now() + '1 day')",
                    job_id, value, size or len(value), ttl,
                )  # fmt: skip
        assert flow.id is not None
        return flow.id

    return grouped


async def every(client: Any, workflow_id: int, name: str = "parts", **given: Any) -> list[Any]:
    found = client.inner.task_results(workflow_id, name, **given)
    return list(found) if client.blocking else [value async for value in found]


@pytest.mark.parametrize("most", [1, 2, 3, 500])
async def test_one_by_one_in_the_order_of_the_tasks(
    client, grouped: Grouped, monkeypatch, most: int
) -> None:
    monkeypatch.setattr(task_results, "_PAGE_TASKS", most)
    flow = grouped('{"size": 1}', None, '{"size": 2}', None, '{"size": 3}', '{"size": 4}')

    assert await every(client, flow) == [
        {"size": 1}, None, {"size": 2}, None, {"size": 3}, {"size": 4},
    ]  # fmt: skip
    assert await every(client, flow, into=Part) == [
        Part(1), None, Part(2), None, Part(3), Part(4),
    ]  # fmt: skip
    assert await client.task_result(flow, "parts") == await every(client, flow)


async def test_a_result_that_has_expired_is_an_error(client, grouped: Grouped) -> None:
    """None would be taken for a task that has none."""
    flow = grouped("1", "2", ttl="-1 s")
    with pytest.raises(awa.ResultExpired):
        await every(client, flow)
    with pytest.raises(awa.ResultExpired):
        await client.task_result(flow, "parts")


async def test_an_empty_group(client, grouped: Grouped) -> None:
    flow = grouped()
    assert await every(client, flow) == await client.task_result(flow, "parts") == []


def test_a_page_is_bounded_in_tasks_and_bytes(
    database_url: str, grouped: Grouped, monkeypatch
) -> None:
    """A result that is larger than a page is a page; a task without one counts as a task."""
    monkeypatch.setattr(task_results, "_PAGE_TASKS", 4)
    monkeypatch.setattr(task_results, "_PAGE_BYTES", 10)
    six, large = '"four"', '"fifteen bytes"'
    flow = grouped("1234", six, large, None, six, None, None, None, None, "1", large, "2")
    results, sizes = GroupResults(flow, "parts"), []
    with psycopg.connect(database_url, autocommit=True) as conn:
        while results.more:
            sizes.append(len(run(conn, results.page())))

    assert sizes == [2, 1, 4, 3, 1, 1]
    assert results.size_bytes == 4 + 6 + 15 + 6 + 1 + 15 + 1


READER = """
import asyncio, os, sys
import awa_lib as awa

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10

def blocking(workflow_id):
    with awa.Client(os.environ["DATABASE_URL"]) as client:
        next(client.task_results(workflow_id, "few"))
        before, count = peak(), 0
        for value in client.task_results(workflow_id, "parts", into=str):
            count += len(value)
    return count, peak() - before

async def waiting(workflow_id):
    async with awa.AsyncClient(os.environ["DATABASE_URL"]) as client:
        await anext(client.task_results(workflow_id, "few"))
        before, count = peak(), 0
        async for value in client.task_results(workflow_id, "parts", into=str):
            count += len(value)
    return count, peak() - before

workflow_id = int(sys.argv[2])
found = blocking(workflow_id) if sys.argv[1] == "sync" else asyncio.run(waiting(workflow_id))
print(*found)
"""


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_a_group_larger_than_memory(flavour: str, database_url: str, look) -> None:
    """200 MiB of results raise the memory of a reader by a few pages."""
    count = 200
    with awa.Client(database_url) as client, client.workflow("large") as flow:
        parts = flow.add_many([{"n": n} for n in range(count)], kind="part", name="parts")
        few = flow.add_many([{"n": 0}], kind="part", name="few")
    look(
        "INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)"
        " SELECT id, to_jsonb(repeat('x', %s)), %s + 2, now() + '1 day', now() + '1 day'"
        " FROM unnest(%s::bigint[]) AS id",
        MEBIBYTE, MEBIBYTE, parts.job_ids,
    )  # fmt: skip
    assert len(few.job_ids) == 1
    done = subprocess.run(
        [sys.executable, "-c", READER, flavour, str(flow.id)], env={"DATABASE_URL": database_url},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    characters, megabytes = map(int, done.stdout.split())

    assert characters == count * MEBIBYTE
    assert megabytes < 64


async def test_a_list_that_is_too_large_is_refused(client, grouped: Grouped) -> None:
    flow = grouped("1", "2", size=40 * MEBIBYTE)
    with pytest.raises(awa.ValidationError, match="have more than 67,108,864 bytes") as refused:
        await client.task_result(flow, "parts")

    assert refused.value.hint == f"read them one by one: client.task_results({flow}, 'parts')"
    assert await every(client, flow) == [1, 2]


async def test_a_result_of_another_type_is_named(client, grouped: Grouped) -> None:
    flow = grouped('{"size": 1}', '{"size": "secret"}')
    with pytest.raises(awa.ValidationError, match=rf"^parts\[1\] of workflow {flow}: ") as wrong:
        await every(client, flow, into=Part)

    assert "result.size" in str(wrong.value)
    assert "secret" not in f"{wrong.value} {wrong.value.why}"


async def test_what_is_no_group(client, grouped: Grouped) -> None:
    flow = grouped("1")
    with pytest.raises(awa.ValidationError, match=f"'total' is a task of workflow {flow}") as told:
        await every(client, flow, "total")
    assert told.value.hint == f"client.task_result({flow}, 'total')"
    with pytest.raises(awa.ValidationError, match="'go' is a signal"):
        await every(client, flow, "go")
    with pytest.raises(awa.ValidationError, match="has no task 'prats'"):
        await every(client, flow, "prats")
    with pytest.raises(awa.WorkflowNotFound):
        await every(client, flow + 1)


async def test_one_task_of_a_group(client, grouped: Grouped, look) -> None:
    flow = grouped("1", "2", "3")
    look("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() WHERE kind = 'part'")

    assert await client.task_result(flow, "parts[1]") == 2
    with pytest.raises(awa.ValidationError, match=r"has no task 'parts\[3\]'") as none:
        await client.task_result(flow, "parts[3]")
    assert none.value.why == "the group 'parts' has 3 tasks, counted from 0"
    for name in ("total[0]", "prats[0]"):
        with pytest.raises(awa.ValidationError, match="has no task"):
            await client.task_result(flow, name)


async def test_a_task_that_waits_has_no_result_yet(client, grouped: Grouped, look) -> None:
    flow = grouped("1")
    with pytest.raises(awa.Conflict, match="has no result yet") as waits:
        await client.task_result(flow, "total")
    assert waits.value.why == "it is waiting"
    look("UPDATE awa.workflow_nodes SET state = 'skipped' WHERE name = 'total'")
    with pytest.raises(awa.NoResult, match="has not run, and has no result") as skipped:
        await client.task_result(flow, "total")
    assert skipped.value.why == f"the task 'total' of workflow {flow} was skipped"


async def test_a_workflow_that_is_deleted_meanwhile(
    client, grouped: Grouped, look, monkeypatch
) -> None:
    """Nothing is passed over in silence."""
    monkeypatch.setattr(task_results, "_PAGE_TASKS", 2)
    flow, values = grouped("1", "2", "3", "4"), []
    found = client.inner.task_results(flow, "parts")
    values += [next(found) if client.blocking else await anext(found)]
    look("DELETE FROM awa.workflow_nodes WHERE workflow_id = %s AND number = 5", flow)
    with pytest.raises(awa.WorkflowNotFound):
        while True:
            values += [next(found) if client.blocking else await anext(found)]

    assert values == [1, 2]


async def test_in_the_transaction_of_a_connection(client, grouped: Grouped, database_url) -> None:
    flow = grouped("1", "2")
    async with client.using(database_url, autocommit=False) as (_, bound):
        assert await every(bound, flow) == [1, 2]


async def test_no_connection_is_held_between_pages(
    flavour: str, database_url: str, grouped: Grouped, monkeypatch
) -> None:
    monkeypatch.setattr(task_results, "_PAGE_TASKS", 1)
    flow = grouped("1", "2")
    async with make_client(flavour, database_url, 1) as client:
        found = client.inner.task_results(flow, "parts")
        for value in (1, 2):
            assert (next(found) if client.blocking else await anext(found)) == value
            assert (await client.get_workflow(flow)).id == flow
