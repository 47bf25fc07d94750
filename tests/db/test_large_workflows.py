"""What the insert of a workflow writes, in each of its ways, and how much large ones read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.enqueue.workflow_nodes import Task
from awa_lib.ops import workflows as ops

# More than this many nodes are copied.
COPIED = 1000
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
ODD = 'tab\tquote"back\\slash\nline {},NULL \\N é'
COLUMNS = (
    "n.type, n.name, n.group_number, n.state, n.rule, n.on_parent_failure, n.parents_open,"
    " n.parents_succeeded, n.parents_failed, n.parents_skipped, n.signals_open, n.kind, n.queue,"
    " n.priority, n.max_attempts, n.args, n.metadata, n.tags, n.not_before, n.wait_seconds"
)
JOBS = (
    "SELECT n.number, j.state::text, j.kind, j.queue, j.priority, j.max_attempts, j.args,"
    " j.metadata - '_awa_workflow' AS metadata, j.metadata -> '_awa_workflow' = to_jsonb(%(id)s),"
    " j.tags, CASE WHEN j.run_at < '2099-01-01' THEN j.run_at - w.created_at END AS delay"
    " FROM awa.workflow_nodes AS n JOIN awa.jobs AS j ON j.id = n.job_id"
    " JOIN awa.workflows AS w ON w.id = n.workflow_id"
    " WHERE n.workflow_id = %(id)s AND n.number <= %(last)s ORDER BY n.number"
)


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def client(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as one:
        yield one


@contextmanager
def reads(conn: psycopg.Connection[Any], most: int) -> Iterator[awa.Client]:
    """Give a client in a transaction that may read so many rows of the tables of workflows."""
    text = (
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
        " FROM pg_stat_xact_user_tables WHERE schemaname = 'awa' AND relname LIKE 'workflow%'"
    )
    with conn.transaction():
        yield awa.Client.on(conn)
        (read,) = conn.execute(text).fetchone() or (0,)

    assert read <= most


def fill(flow: awa.Workflow) -> int:
    """Add tasks, groups and signals of every sort; return the number of the last of these nodes."""
    first = flow.add({"n": 1}, kind="k", name="first", priority=1, tags=["a", ODD])
    flow.add({"text": ODD}, kind="k", name=ODD, metadata={"odd": ODD, "null": None})
    flow.add({}, kind="other", queue="q", name="later", not_before=FOREVER)
    flow.add({}, kind="k", name="soon", wait="1h", max_attempts=3)
    flow.add({}, kind="k", name="past", wait=0, not_before="2001-01-01T00:00:00Z")
    flow.add({}, kind="k", name="both", wait=60, not_before=FOREVER)
    parts = flow.add_many(
        [{"n": 0}, awa.NewJob({"n": 1}, kind="own", queue="own", priority=4), {"n": 2}],
        kind="k", name="parts", metadata={"m": 1},
    )  # fmt: skip
    behind = flow.add_many([{}, {}], kind="k", name="behind", after=[parts, first, first])
    flow.add({}, kind="k", name="merge", after=[behind, "first"], on_parent_failure="wait")
    flow.add({}, kind="k", name="alert", after=[parts, first], when="any_failed", wait=5)
    flow.add({}, kind="k", name="asked", signal=["go", "sign"])
    flow.add({}, kind="k", name="end", after=["asked", behind], when="always", signal="go")
    flow.add({}, kind="k", name="ahead", after="last")
    flow.add({}, kind="k", name="last")
    return 19


def insert(client: awa.Client, way: str) -> tuple[awa.Workflow, int]:
    """Insert those nodes, so that they are written in one of the ways."""
    with client.workflow(way) as flow:
        last = fill(flow)
        if way == "copied":
            flow.add_many([{}] * COPIED, kind="rest")
        if way == "resolved":  # a task whose parents are over is left to awa.resolve_workflow
            none = flow.add_many([], kind="none")
            flow.add({}, kind="rest", after=none, when="any_failed")
    return flow, last


def told(conn: psycopg.Connection[Any], flow: awa.Workflow, last: int) -> Any:
    """Return everything that is stored of those nodes, but ids; signals have other numbers."""
    with conn.cursor() as cursor:
        nodes = cursor.execute(
            f"SELECT number, {COLUMNS} FROM awa.workflow_nodes AS n"
            " WHERE workflow_id = %s AND number <= %s ORDER BY number", [flow.id, last],
        ).fetchall()  # fmt: skip
        signals = cursor.execute(
            f"SELECT {COLUMNS} FROM awa.workflow_nodes AS n"
            " WHERE workflow_id = %s AND type = 'signal' ORDER BY number", [flow.id],
        ).fetchall()  # fmt: skip
        edges = cursor.execute(
            "SELECT coalesce(p.name, p.number::text), e.child FROM awa.workflow_edges AS e"
            " JOIN awa.workflow_nodes AS p"
            " ON p.workflow_id = e.workflow_id AND p.number = e.parent"
            " WHERE e.workflow_id = %s AND e.child <= %s ORDER BY 1, 2", [flow.id, last],
        ).fetchall()  # fmt: skip
        jobs = cursor.execute(JOBS, {"id": flow.id, "last": last}).fetchall()
    return nodes, signals, edges, jobs


def test_each_way_of_an_insert_writes_the_same(client: awa.Client, conn) -> None:
    """The client decides what awa.resolve_workflow would, in statements and in COPY."""
    resolved = told(conn, *insert(client, "resolved"))
    assert told(conn, *insert(client, "inserted")) == resolved
    assert told(conn, *insert(client, "copied")) == resolved
    nodes, signals, _, jobs = resolved
    assert (len(nodes), len(signals)) == (19, 2)
    assert [job[0] for job in jobs] == [1, 2, 3, 4, 5, 6, 8, 9, 10, 19]
    assert {job[1] for job in jobs} == {"available", "scheduled"}
    assert all(job[8] for job in jobs)


@pytest.mark.parametrize("way", ["inserted", "copied", "resolved"])
def test_an_insert_counts_its_tasks_and_tells_them_their_jobs(
    client: awa.Client, conn, way: str
) -> None:
    flow, _ = insert(client, way)
    ids: dict[Any, int] = dict(
        conn.execute(
            "SELECT number, job_id FROM awa.workflow_nodes WHERE workflow_id = %s"
            " AND job_id IS NOT NULL", [flow.id],
        ).fetchall()
    )  # fmt: skip
    for part in flow.parts:
        node = part.node
        if isinstance(node, Task):
            assert node.job_id == ids[node.number]
        else:
            assert node.number is not None
            assert node.job_ids == [
                ids[node.number + 1 + place] for place in range(len(part.jobs.args))
            ]
    found = conn.execute(
        "SELECT w.nodes = n.nodes AND w.waiting = n.waiting AND w.started = n.started"
        " AND w.skipped = n.skipped AND w.state = 'open'"
        " FROM awa.workflows AS w, LATERAL (SELECT count(*) AS nodes,"
        " count(*) FILTER (WHERE type = 'task' AND state = 'waiting') AS waiting,"
        " count(*) FILTER (WHERE state = 'started') AS started,"
        " count(*) FILTER (WHERE state = 'skipped') AS skipped"
        " FROM awa.workflow_nodes WHERE workflow_id = w.id) AS n WHERE w.id = %s",
        [flow.id],
    ).fetchone()
    assert found == (True,)


@pytest.mark.parametrize("way", ["inserted", "copied"])
def test_a_row_is_written_once(conn: psycopg.Connection[Any], way: str) -> None:
    """A second version of each node took the server as long as the first."""
    with conn.transaction():
        flow, _ = insert(awa.Client.on(conn), way)
        found = conn.execute(
            "SELECT sum(n_tup_ins) FILTER (WHERE relname = 'workflow_nodes'), sum(n_tup_upd)"
            " FROM pg_stat_xact_user_tables WHERE relname LIKE 'workflow%'"
        ).fetchone()
        nodes = conn.execute("SELECT nodes FROM awa.workflows WHERE id = %s", [flow.id]).fetchone()

    assert nodes is not None
    assert found == (nodes[0], 0)


@pytest.mark.parametrize("way", ["inserted", "copied"])
def test_another_engine_is_given_no_half_of_a_workflow(client: awa.Client, conn, way: str) -> None:
    conn.execute("ALTER TABLE awa.storage_transition_state DISABLE TRIGGER USER")
    conn.execute("UPDATE awa.storage_transition_state SET current_engine = 'queue_storage'")
    with pytest.raises(awa.Conflict, match="another storage engine"):
        insert(client, way)

    for table in ("workflows", "workflow_nodes", "workflow_edges", "jobs"):
        assert conn.execute(f"SELECT count(*) FROM awa.{table}").fetchone() == (0,)


@pytest.fixture
def large(client: awa.Client, conn) -> awa.Workflow:
    """A workflow of 3,000 named tasks, a group, and 500 tasks without a name."""
    with client.workflow("large") as flow:
        first = flow.add({}, kind="k", name="first")
        for n in range(3000):
            flow.add({}, kind="k", name=f"t{n}", after=first)
        flow.add_many([{}] * 20, kind="k", name="parts", after=first)
        for _ in range(500):
            flow.add({}, kind="same", after=first)
    conn.execute("ANALYZE awa.workflow_nodes")
    return flow


def test_tasks_that_are_added_do_not_read_the_others(conn, large: awa.Workflow) -> None:
    assert large.id is not None
    with reads(conn, 60) as client, client.extend_workflow(large.id) as more:
        named = more.add({}, kind="k", name="more", after=["t7", "parts"])
        again = [more.add({}, kind="same", after=named) for _ in range(3)]

    found = conn.execute(
        "SELECT count(*), count(DISTINCT name) FROM awa.workflow_nodes"
        " WHERE workflow_id = %s AND kind = 'same' AND name IS NOT NULL", [large.id],
    ).fetchone()  # fmt: skip
    assert found == (503, 503)
    assert all(task.name.startswith("same_") for task in again)


@pytest.mark.parametrize("count", [1, COPIED + 1])
def test_added_tasks_see_how_older_parents_have_ended(client, conn, count: int) -> None:
    with client.workflow("older") as flow:
        done = flow.add({}, kind="k", name="done")
        bad = flow.add({}, kind="k", name="bad")
        flow.add({}, kind="k", name="runs")
    for task, state in ((done, "completed"), (bad, "failed")):
        conn.execute(
            "UPDATE awa.jobs_hot SET state = %s::awa.job_state, finalized_at = now()"
            " WHERE id = %s", [state, task.job_id],
        )  # fmt: skip
        run(conn, ops.note_ends([(flow.id, task.job_id)]))
    run(conn, ops.resolve(flow.id))
    with client.extend_workflow(flow.id) as more:
        for parent in ("done", "bad", "runs"):
            more.add_many([{}] * count, kind="k", name=f"behind {parent}", after=parent)
        more.add_many([{}] * count, kind="k", name="free")
        more.add({}, kind="k", name="last", after="behind runs")

    found = conn.execute(
        "SELECT g.name, n.state, count(*) FROM awa.workflow_nodes AS n"
        " JOIN awa.workflow_nodes AS g"
        " ON g.workflow_id = n.workflow_id AND g.number = n.group_number"
        " WHERE n.workflow_id = %s GROUP BY 1, 2 ORDER BY 1", [flow.id],
    ).fetchall()  # fmt: skip
    assert found == [
        ("behind bad", "skipped", count), ("behind done", "started", count),
        ("behind runs", "waiting", count), ("free", "started", count),
    ]  # fmt: skip


def test_a_mistake_in_added_tasks_names_the_nearest(client, large: awa.Workflow) -> None:
    with (
        pytest.raises(awa.ValidationError, match="not in the workflow") as refused,
        client.extend_workflow(large.id) as more,
    ):
        more.add({}, kind="k", name="more", after="t2999x")
    assert "t2999" in str(refused.value.hint)
    with pytest.raises(awa.ValidationError, match="used twice"):
        with client.extend_workflow(large.id) as more:
            more.add({}, kind="k", name="t2999")


def test_a_retry_of_named_tasks_does_not_read_the_others(conn, large: awa.Workflow) -> None:
    assert large.id is not None
    conn.execute(
        "UPDATE awa.workflow_nodes SET state = 'failed' WHERE workflow_id = %s"
        " AND (name = 't5' OR number = 3005)", [large.id],
    )  # fmt: skip
    with reads(conn, 60) as client:
        found = client.retry_workflow(large.id, tasks=["t5", "parts[2]"], dry_run=True)
        with pytest.raises(awa.ValidationError, match="has 20 tasks"):
            client.retry_workflow(large.id, tasks=["parts[20]"], dry_run=True)

    assert found == ["t5", "parts[2]"]


def test_the_sweep_does_not_read_workflows_in_which_nothing_has_started(client, conn) -> None:
    for _ in range(20):
        with client.workflow("waits") as flow:
            flow.add_many([{}] * 200, kind="k", signal="go")
    with client.workflow("runs") as flow:
        task = flow.add({}, kind="k", name="one")
    conn.execute("ANALYZE awa.workflow_nodes, awa.workflows")
    conn.execute("DELETE FROM awa.jobs_hot WHERE id = %s", [task.job_id])
    with conn.transaction():
        before = rows_read(conn)
        page, _ = run(conn, ops.sweep(ops.BEGIN, 1.0))
        read = rows_read(conn) - before

    assert (page.read, page.noted) == (1, 1)
    assert read < 100


def rows_read(conn: psycopg.Connection[Any]) -> int:
    found = conn.execute(
        "SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)"
        " FROM pg_stat_xact_user_tables WHERE relname LIKE 'workflow%'"
    ).fetchone()
    assert found is not None
    return int(found[0])


def test_a_delay_counts_from_the_time_of_the_database(client, conn) -> None:
    flow, _ = insert(client, "copied")
    rows = conn.execute(JOBS, {"id": flow.id, "last": 19}).fetchall()
    delays = {row[0]: row[10] for row in rows}
    assert delays[4] == timedelta(hours=1)
    assert delays[1] == timedelta(0)


@pytest.mark.parametrize("statistics", ["of nothing", "of others", "of now"])
def test_many_ends_are_moved_on_in_little_memory(client: awa.Client, conn, statistics: str) -> None:
    """Each node is found by its job, and rows to sort do not carry what was read of all jobs."""
    if statistics == "of others":
        for _ in range(30):
            with client.workflow("small") as flow:
                flow.add_many([{}] * 3, kind="other")
        conn.execute("ANALYZE awa.workflow_nodes")
    with client.workflow("wide") as flow:
        parts = flow.add_many([{}] * 3000, kind="k")
        last = flow.add({}, kind="k", after=parts)
    if statistics == "of now":
        conn.execute("ANALYZE awa.workflow_nodes")
    assert flow.id is not None
    conn.execute("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()")
    run(conn, ops.note_ends((flow.id, job_id) for job_id in parts.job_ids))
    conn.execute("SET work_mem = '2MB'; SET temp_file_limit = 0")
    with reads(conn, 20_000):
        more = run(conn, ops.resolve(flow.id))

    assert more is False
    assert client.get_job(last.job_id or 0).state == "available"
