"""Which tasks of a workflow run, for any graph and any ends, against the rules written out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from fix_wait import eventually
from hypothesis import given, settings
from hypothesis import strategies as st

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import workflows as ops

RULES = ("all_succeeded", "all_done", "any_failed", "any_succeeded", "all_failed", "always")


def expected(rule: str, parents: list[str]) -> bool:
    """Whether a task runs whose parents have ended in these states."""
    failed = [one in ("failed", "cancelled") for one in parents]
    if rule == "all_succeeded":
        return all(one == "succeeded" for one in parents)
    if rule == "all_failed":
        return all(failed)
    if rule == "any_failed":
        return any(failed)
    if rule == "any_succeeded":
        return "succeeded" in parents
    return True


nodes = st.lists(
    st.tuples(
        st.integers(0, 3),  # members of a group; 0 is a single task
        st.lists(st.integers(0, 100), max_size=3),  # parents, by a number below its own
        st.sampled_from(RULES),
        st.sampled_from(["completed", "failed", "cancelled"]),
    ),
    min_size=1,
    max_size=9,
)


def settle(place: int, parents: list[int], rule: str) -> tuple[list[int], str]:
    """Return the parents below a node, and a rule that is allowed for them."""
    after = sorted({one % place for one in parents}) if place else []
    return after, rule if after or rule in ("all_done", "always") else "all_succeeded"


def build(flow: awa.Workflow, drawn: list[Any], first: int = 0) -> list[Any]:
    """Add the nodes from first on; those before are there."""
    handles: list[Any] = []
    for place, (members, parents, drawn_rule, _) in enumerate(drawn[first:], first):
        after, rule = settle(place, parents, drawn_rule)
        chosen = {"after": [f"n{one}" for one in after], "when": rule, "name": f"n{place}"}
        if members:
            handles.append(flow.add_many([{"n": n} for n in range(members)], kind="k", **chosen))
        else:
            handles.append(flow.add({"n": 0}, kind="k", **chosen))
    return handles


def group_of(conn: psycopg.Connection[Any], flow: awa.Workflow) -> dict[int, int]:
    """Return the number of the node, or of its group, of each job."""
    return dict(
        conn.execute(
            "SELECT job_id, coalesce(group_number, number) FROM awa.workflow_nodes"
            " WHERE workflow_id = %s AND type = 'task'",
            (flow.id,),
        ).fetchall()
    )


def states(conn: psycopg.Connection[Any], flow: awa.Workflow) -> dict[int, str]:
    return dict(
        conn.execute(
            "SELECT number, state FROM awa.workflow_nodes WHERE workflow_id = %s AND type = 'task'",
            (flow.id,),
        ).fetchall()
    )


def members(handle: Any, found: dict[int, str]) -> list[str]:
    jobs = getattr(handle, "job_ids", None)
    if jobs is None:
        return [found[handle.number]]
    return [found[handle.number + 1 + n] for n in range(len(jobs))]


def check(conn: Any, flow: awa.Workflow, handles: list[Any], drawn: list[Any]) -> None:
    found = states(conn, flow)
    for place, (_, parents, drawn_rule, _) in enumerate(drawn):
        after, rule = settle(place, parents, drawn_rule)
        of_parents = [one for n in after for one in members(handles[n], found)]
        for one in members(handles[place], found):
            assert (one != "skipped") == expected(rule, of_parents), (place, rule, of_parents, one)
    (row,) = conn.execute(
        "SELECT waiting, started, state FROM awa.workflows WHERE id = %s", (flow.id,)
    ).fetchall()
    failed = any(one in ("failed", "cancelled") for one in found.values())
    assert row == (0, 0, "failed" if failed else "succeeded")


def check_none_is_early(
    conn: Any, flow: awa.Workflow, handles: list[Any], drawn: list[Any], started: list[int]
) -> None:
    """A task that waits for all its parents has not started before the last of them ended."""
    found = states(conn, flow)
    for place, handle in enumerate(handles):
        _, parents, drawn_rule, _ = drawn[place]
        after, rule = settle(place, parents, drawn_rule)
        if handle.number in started and not rule.startswith("any"):
            of_parents = [one for n in after for one in members(handles[n], found)]
            assert not {"waiting", "started"} & set(of_parents), (place, rule, of_parents)


@pytest.fixture(scope="module")
def shared(awa_postgres: Any, awa_template: str) -> Any:
    with awa_postgres.database(awa_template) as url, awa.Client(url) as client:
        with psycopg.connect(url, autocommit=True) as conn:
            yield client, conn


@settings(max_examples=60, deadline=None)
@given(
    drawn=nodes,
    order=st.randoms(use_true_random=False),
    batch=st.integers(1, 4),
    later=st.integers(0, 8),
)
def test_tasks_run_by_their_rules(
    shared: Any, drawn: Any, order: Any, batch: int, later: int
) -> None:
    """Some nodes are added later, while ends are noted that are not in the graph yet."""
    client, conn = shared
    first = max(1, len(drawn) - later)
    with client.workflow("drawn") as flow:
        handles = build(flow, drawn[:first])
    while True:
        live = conn.execute(
            "SELECT id FROM awa.jobs_hot WHERE state = 'available'"
            " AND (metadata -> '_awa_workflow')::bigint = %s ORDER BY id",
            (flow.id,),
        ).fetchall()
        if not live:
            break
        picked = order.sample([row[0] for row in live], min(batch, len(live)))
        outcome = {handle.number: drawn[place][3] for place, handle in enumerate(handles)}
        groups = group_of(conn, flow)
        early = [groups[row[0]] for row in live] if len(handles) == len(drawn) else []
        check_none_is_early(conn, flow, handles, drawn, early)
        for job_id in picked:
            conn.execute(
                "UPDATE awa.jobs_hot SET state = %s::awa.job_state, finalized_at = now()"
                " WHERE id = %s",
                (outcome[groups[job_id]], job_id),
            )
        run(conn, ops.note_ends((flow.id, job_id) for job_id in picked))
        if len(handles) < len(drawn):
            with client.extend_workflow(flow.id) as more:
                handles += build(more, drawn, first)
        while run(conn, ops.resolve(flow.id)):
            pass
    check(conn, flow, handles, drawn)


@settings(max_examples=10, deadline=None)
@given(drawn=nodes)
def test_ends_at_the_same_moment_lose_nothing(shared: Any, drawn: Any) -> None:
    """Each end commits on a connection of its own, and then moves the workflow on."""
    client, conn = shared
    with client.workflow("drawn") as flow:
        handles = build(flow, drawn)
    outcome = {handle.number: drawn[place][3] for place, handle in enumerate(handles)}

    def end(job_id: int, number: int) -> None:
        with psycopg.connect(conn.info.dsn, password=conn.info.password, autocommit=True) as own:
            own.execute(
                "UPDATE awa.jobs_hot SET state = %s::awa.job_state, finalized_at = now()"
                " WHERE id = %s",
                (outcome[number], job_id),
            )
            run(own, ops.note_ends([(flow.id, job_id)]))
            run(own, ops.resolve(flow.id))

    with ThreadPoolExecutor(6) as pool:
        while live := conn.execute(
            "SELECT j.id, coalesce(n.group_number, n.number) FROM awa.jobs_hot AS j"
            " JOIN awa.workflow_nodes AS n ON n.job_id = j.id"
            " WHERE j.state = 'available' AND n.workflow_id = %s ORDER BY j.id",
            (flow.id,),
        ).fetchall():
            list(pool.map(lambda one: end(*one), live))
    check(conn, flow, handles, drawn)


def test_an_end_that_nobody_noted_is_found_by_the_sweep(shared: Any) -> None:
    client, conn = shared
    with client.workflow("swept") as flow:
        first = flow.add({}, kind="k")
        second = flow.add({}, kind="k", after=first)
        gone = flow.add({}, kind="k")
        flow.add({}, kind="k", after=gone, name="alert", when="any_failed")
    conn.execute(
        "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() - interval '2 s'"
        " WHERE id = %s",
        (first.job_id,),
    )
    conn.execute("DELETE FROM awa.jobs_hot WHERE id = %s", (gone.job_id,))
    place = (flow.id, 0)
    page, left = run(conn, ops.sweep(place, 0.0))

    assert page.noted == 2
    assert flow.id in left
    run(conn, ops.resolve(flow.id))
    found = states(conn, flow)
    assert found[first.number] == "succeeded"
    assert found[gone.number] == "cancelled"
    assert found[second.number] == "started"
    assert sorted(found.values()) == ["cancelled", "started", "started", "succeeded"]


def test_a_cascade_longer_than_a_transaction_goes_on(shared: Any) -> None:
    client, conn = shared
    with client.workflow("cascade") as flow:
        last = flow.add({}, kind="k")
        head = last
        for _ in range(1500):
            last = flow.add({}, kind="k", after=last)
    conn.execute("UPDATE awa.jobs_hot SET state = 'failed' WHERE id = %s", (head.job_id,))
    run(conn, ops.note_ends([(flow.id, head.job_id)]))

    assert run(conn, ops.resolve(flow.id)) is True
    assert run(conn, ops.resolve(flow.id)) is False
    row = conn.execute(
        "SELECT state, skipped, waiting, failed FROM awa.workflows WHERE id = %s", (flow.id,)
    ).fetchone()
    assert row == ("failed", 1500, 0, 1)


@pytest.mark.parametrize(
    ("build_up", "said"),
    [
        (lambda flow: flow.add({}, kind="k", after="nobody"), "not in the workflow"),
        (
            lambda flow: (flow.add({}, kind="k", name="a"), flow.add({}, kind="k", name="a")),
            "twice",
        ),
        (
            lambda flow: (
                flow.add({}, kind="k", name="a", after="b"),
                flow.add({}, kind="k", name="b", after="a"),
            ),
            "wait for each other: .* -> ",
        ),
        (lambda flow: flow.add({}, kind="k", when="sometimes"), "when must be one of"),
        (lambda flow: flow.add({}, kind="k", when="any_failed"), "needs after="),
        (lambda flow: flow.add({}, kind="k", delay=3), "use|delay is not an option"),
        (lambda flow: flow.add({}, kind="k", unique=awa.Unique(by="args")), "cannot be unique"),
        (lambda flow: flow.add({}, kind="k", after=3), "after must be"),
        (lambda flow: flow.add({}, kind="k", name=""), "name"),
        (lambda flow: flow.add({}, kind="k", wait=-1), "wait"),
        (lambda flow: flow.add({}, kind="k", not_before="soon"), "not_before"),
        (lambda flow: flow.add({}, kind="k", signal=["a", 3]), "signal"),
        (lambda flow: flow.add_many(({"n": n} for n in range(100_001)), kind="k"), "at most"),
        (lambda flow: None, "has no tasks"),
        (
            lambda flow: flow.add({}, kind="k", on_parent_failure="wait", when="all_done"),
            "were both given",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    shared: Any, build_up: Any, said: str
) -> None:
    client, conn = shared
    before = conn.execute("SELECT count(*) FROM awa.workflows").fetchone()
    with pytest.raises(awa.ValidationError, match=said), client.workflow("bad") as flow:
        build_up(flow)
    assert conn.execute("SELECT count(*) FROM awa.workflows").fetchone() == before


def test_an_error_in_the_block_inserts_nothing(shared: Any) -> None:
    client, conn = shared
    before = conn.execute("SELECT count(*) FROM awa.workflows").fetchone()
    with pytest.raises(ZeroDivisionError), client.workflow("half") as flow:
        flow.add({}, kind="k")
        raise ZeroDivisionError
    assert conn.execute("SELECT count(*) FROM awa.workflows").fetchone() == before


def test_a_rollback_takes_the_workflow_back(shared: Any) -> None:
    client, conn = shared
    before = conn.execute("SELECT count(*) FROM awa.jobs").fetchone()
    with pytest.raises(ZeroDivisionError), client.transaction() as tx:
        with tx.workflow("undone") as flow:
            flow.add({}, kind="k")
        assert flow.id is not None
        raise ZeroDivisionError
    assert conn.execute("SELECT count(*) FROM awa.jobs").fetchone() == before
    assert conn.execute("SELECT FROM awa.workflows WHERE id = %s", (flow.id,)).fetchone() is None


def test_a_key_makes_a_workflow_unique(shared: Any) -> None:
    client, _ = shared
    with client.workflow("nightly", key="2026-12-01") as first:
        first.add({}, kind="k")
    with (
        pytest.raises(awa.Conflict, match="is there already"),
        client.workflow("nightly", key="2026-12-01") as second,
    ):
        second.add({}, kind="k")
    with client.workflow("nightly", key="2026-12-01", on_conflict="keep") as third:
        third.add({}, kind="k")
    assert (third.id, third.created) == (first.id, False)


def test_times_of_a_task(shared: Any) -> None:
    client, conn = shared
    with client.workflow("timed") as flow:
        now = flow.add({}, kind="k", not_before="2001-01-01T00:00:00Z")
        later = flow.add({}, kind="k", wait="1h")
        far = flow.add({}, kind="k", not_before="2101-01-01T00:00:00Z", wait="1h")
    found = dict(
        conn.execute(
            "SELECT id, (state, round(extract(epoch FROM run_at - now()) / 3600))::text"
            " FROM awa.jobs WHERE id = ANY (%s)",
            ([now.job_id, later.job_id, far.job_id],),
        ).fetchall()
    )
    assert found[now.job_id] == "(available,0)"
    assert found[later.job_id] == "(scheduled,1)"
    assert found[far.job_id].startswith("(scheduled,6")


def test_a_move_waits_for_the_one_before(shared: Any) -> None:
    client, conn = shared
    with client.workflow("two ends") as flow:
        parents = [flow.add({}, kind="k") for _ in range(2)]
        child = flow.add({}, kind="k", after=parents)

    def complete(own: psycopg.Connection[Any], job_id: int) -> None:
        own.execute(
            "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() WHERE id = %s",
            (job_id,),
        )
        run(own, ops.note_ends([(flow.id, job_id)]))

    dsn = f"{conn.info.dsn} password={conn.info.password or 'none'}"
    with (
        psycopg.connect(dsn) as first,
        psycopg.connect(dsn, autocommit=True) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        complete(first, parents[0].job_id)
        run(first, ops.resolve(flow.id))
        complete(second, parents[1].job_id)
        moving = pool.submit(run, second, ops.resolve(flow.id))
        eventually(
            lambda: (
                conn.execute(
                    "SELECT cardinality(pg_blocking_pids(%s))", (second.info.backend_pid,)
                ).fetchone()
                == (1,)
            )
        )
        first.commit()
        moving.result(10)

    assert states(conn, flow)[child.number] == "started"


def test_a_task_starts_once(shared: Any) -> None:
    client, conn = shared
    with client.workflow("once") as flow:
        parents = [flow.add({}, kind="k") for _ in range(2)]
        alert = flow.add({}, kind="k", after=parents, when="any_failed")
    for job_id, state in (
        (parents[0].job_id, "failed"),
        (alert.job_id, "completed"),
        (parents[1].job_id, "failed"),
    ):
        conn.execute("UPDATE awa.jobs_hot SET state = %s WHERE id = %s", (state, job_id))
        run(conn, ops.note_ends([(flow.id, job_id)]))
        run(conn, ops.resolve(flow.id))

    assert states(conn, flow)[alert.number] == "succeeded"
