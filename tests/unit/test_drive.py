"""Ops fed with rows by hand, the atomic wrapper, and the methods made of ops."""

from __future__ import annotations

import inspect
import os
import resource
import socket
from datetime import UTC, datetime
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import errors as pg

import awa_lib as awa
from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, Op, Query, Rows, Statement, atomic
from awa_lib.client.methods import averb, verb
from awa_lib.db.drive import check_socket
from awa_lib.db.translate import translate
from awa_lib.ops import inserts, jobs, queues

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COLUMNS = {
    "id": 7, "kind": "k", "queue": "q", "state": "failed", "priority": 2, "attempt": 1,
    "max_attempts": 25, "run_lease": 1, "args": "{}", "metadata": "{}", "tags": "[]",
    "errors": None, "progress": None, "run_at": NOW, "created_at": NOW,
}  # fmt: skip


def feed(op: Op, *answers: Rows | Exception) -> tuple[list[Statement], object]:
    """Give each statement of an op its answer; return the statements and the result."""
    sent = []
    try:
        statement = next(op)
        for answer in answers:
            sent.append(statement)
            statement = op.throw(answer) if isinstance(answer, Exception) else op.send(answer)
    except StopIteration as stop:
        return sent, stop.value
    op.close()
    pytest.fail(f"the op wants an answer to {statement.query.name}")


def names(sent: list[Statement]) -> list[str]:
    return [statement.query.name for statement in sent]


def parameters(statement: Statement) -> dict[str, object]:
    return dict(zip(statement.query.params, statement.values, strict=True))


def job_rows(**changes) -> Rows:
    return Rows.of({**COLUMNS, **changes})


# -- ops


def test_get_job() -> None:
    sent, job = feed(jobs.get_job(7), job_rows())

    assert names(sent) == ["get_job"]
    assert sent[0].values == (7,)
    assert (job.id, job.state) == (7, awa.JobState.Failed)


def test_get_job_of_no_row() -> None:
    with pytest.raises(awa.JobNotFound):
        feed(jobs.get_job(7), Rows(), Rows())


def test_retry_asks_why_it_missed() -> None:
    with pytest.raises(awa.InvalidTransition, match="cannot retry job 7: it is running"):
        feed(jobs.retry(7), Rows(), job_rows(state="running"))


def test_retry_tries_again_when_the_job_was_on_its_way() -> None:
    sent, job = feed(
        jobs.retry(7), Rows(), job_rows(state="retryable"), job_rows(state="available")
    )

    assert names(sent) == ["retry_jobs", "get_job", "retry_jobs"]
    assert job.state is awa.JobState.Available


def test_retry_gives_up_on_a_job_that_is_never_where_it_says() -> None:
    answers = [Rows(), job_rows()] * 3
    with pytest.raises(awa.InvalidTransition):
        feed(jobs.retry(7), *answers)


def test_retry_failed_splits_a_page_that_collides() -> None:
    conflict = awa.UniqueConflict()
    sent, done = feed(
        jobs.retry_failed(kind="k"),
        Rows([(1,), (2,)], ("id",)),
        Rows(), conflict, Rows(),
        Rows(), job_rows(id=1, state="available"), Rows(),
        Rows(), conflict, Rows(),
    )  # fmt: skip

    assert names(sent) == [
        "failed_ids", "begin", "retry_jobs", "rollback", "begin", "retry_jobs", "commit",
        "begin", "retry_jobs", "rollback",
    ]  # fmt: skip
    assert [job.id for job in done] == [1]


def test_drain_sends_pages_of_ids() -> None:
    ids = Rows([(n,) for n in range(700)], ("id",))
    sent, count = feed(
        queues.drain_queue("q"), ids,
        Rows([(n,) for n in range(500)], ("id",)), Rows([(n,) for n in range(501, 700)], ("id",)),
        Rows(),
    )  # fmt: skip

    assert names(sent) == ["drainable_ids", "drain", "drain", "drain"]
    assert sent[1].values[0].count(",") == 499
    assert sent[3].values[0] == "{500}"
    assert count == 699


@pytest.mark.parametrize("op", [inserts.insert_many, inserts.insert_many_copy])
def test_inserting_nothing_sends_nothing(op) -> None:
    assert feed(op([])) == ([], [])


def test_a_short_insert_is_one_statement() -> None:
    rows = Rows([(list(range(1000)), NOW)])
    sent, made = feed(inserts.insert_many([{"n": 1}] * 1000), rows)

    assert names(sent) == ["insert_available"]
    assert [job.id for job in made] == list(range(1000))


def test_a_long_insert_of_jobs_alike_is_copied() -> None:
    sent, _ = feed(
        inserts.insert_many([{"n": n} for n in range(1001)]),
        Rows(), Rows([(list(range(1001)), NOW)]), Rows(), Rows(),
    )  # fmt: skip

    assert names(sent) == ["begin", "reserve_ids", "copy_available", "commit"]


def test_a_long_insert_of_different_jobs_is_one_transaction() -> None:
    jobs = [awa.NewJob({"n": n}, priority=1 + n % 2) for n in range(1001)]
    full, rest = Rows([(list(range(1000)), NOW)]), Rows([([1000], NOW)])
    sent, made = feed(inserts.insert_many(jobs), Rows(), full, rest, Rows())

    assert names(sent) == ["begin", "insert_jobs", "insert_jobs", "commit"]
    assert len(made) == 1001


def test_a_block_is_encoded_when_the_one_before_was_sent() -> None:
    encoded = []

    class Told:
        def __init__(self, n: int) -> None:
            self.n = n

        def model_dump(self, mode: str) -> dict:
            encoded.append(self.n)
            return {"n": self.n}

    ids = list(range(1, 1102))
    op = inserts.insert_many([Told(n) for n in range(1101)])
    next(op)
    op.send(Rows())
    data = iter(op.send(Rows([(ids, NOW)])).data)
    seen = [len(encoded)]
    for block in data:
        seen.append(len(encoded))
        assert block.count("\n") <= 500

    assert seen == [500, 500, 1000, 1101]
    op.send(Rows())
    with pytest.raises(StopIteration) as end:
        op.send(Rows())
    assert [job.args["n"] for job in end.value.value] == list(range(1101))


def test_uniform_columns_travel_as_scalars() -> None:
    op = inserts.insert_many([{"n": 1}, {"n": 2}], kind='a"b', queue="q", tags=["x,y"], run_at=NOW)
    statement = next(op)

    assert parameters(statement) == {
        "args": '[{"n":1},{"n":2}]', "kind": 'a"b', "kinds": "{}", "queue": "q", "queues": "{}",
        "priority": 2, "priorities": "{}", "max_attempts": 25, "max_attempts_each": "{}",
        "run_at": NOW, "run_ats": "{}", "delay": None, "delays": "{}", "metadata": "{}", "metadata_each": "[]",
        "tags": '{"x,y"}', "tags_each": "{}", "unique_keys": "{}", "unique_states_each": "{}",
        "ids": "{}",
    }  # fmt: skip


MANY = [{"s": "a\\b\n"}] * 1001


def test_copy_rows_are_escaped() -> None:
    op = inserts.insert_many_copy(MANY, kind="k\t", queue="q\\", tags=["\\"])
    next(op)
    op.send(Rows())
    statement = op.send(Rows([(list(range(5, 1006)), NOW)], ("ids", "created_at")))
    lines = "".join(statement.data).splitlines(keepends=True)

    assert statement.query.name == "copy_available"
    assert len(lines) == 1001
    assert lines[0] == (
        '5\tk\\t\tq\\\\\t{"s":"a\\\\\\\\b\\\\n"}\t2\t25\t2026-01-02T03:04:05+00:00\t{}\t'
        '{"\\\\\\\\"}\n'
    )


def test_copy_goes_another_way_when_no_ids_are_given() -> None:
    ids = list(range(1000))
    sent, made = feed(
        inserts.insert_many_copy(MANY),
        Rows(), Rows(), Rows(), Rows([(ids, NOW)]), Rows(), Rows([([9], NOW)]), Rows(),
    )  # fmt: skip

    assert names(sent) == [
        "begin", "reserve_ids", "insert_available", "insert_jobs_compat", "insert_one",
        "insert_jobs_compat", "commit",
    ]  # fmt: skip
    assert parameters(sent[2]).items() <= parameters(sent[3]).items()
    assert made[-1].id == 9


def test_few_jobs_are_not_copied() -> None:
    sent, _ = feed(inserts.insert_many_copy([{"n": 1}]), Rows([([1], NOW)]))

    assert names(sent) == ["insert_one"]


def test_bad_input_is_refused_before_an_op_is_driven() -> None:
    with pytest.raises(awa.ValidationError):
        inserts.insert({}, priority=9)


# -- atomic

QUERY = Query("one", "", ())


@atomic
def two_steps(fail: bool = False) -> Op[str]:
    yield Statement(QUERY, ())
    if fail:
        raise ValueError("no")
    yield Statement(QUERY, ())
    return "done"


def test_atomic_begins_and_commits() -> None:
    sent, result = feed(two_steps(), *[Rows()] * 4)

    assert names(sent) == ["begin", "one", "one", "commit"]
    assert (sent[0], sent[-1]) == (BEGIN, COMMIT)
    assert result == "done"


def test_atomic_rolls_back_and_passes_the_error_on() -> None:
    op = two_steps(fail=True)
    sent = [next(op), op.send(Rows()), op.send(Rows())]
    with pytest.raises(ValueError, match="no"):
        op.send(Rows())

    assert sent[-1] is ROLLBACK


def test_atomic_rolls_back_when_a_statement_fails() -> None:
    op = two_steps()
    next(op)
    op.send(Rows())
    assert op.throw(awa.UniqueConflict()) is ROLLBACK
    with pytest.raises(awa.UniqueConflict):
        op.send(Rows())


# -- methods


def greet(name: str, *, loud: bool = False) -> Op[list[str]]:
    """Greet somebody."""
    rows = yield Statement(QUERY, (name, loud))
    return [row[0] for row in rows]


class Blocking:
    def _run(self, op):
        return feed(op, Rows([("hello",)]))[1]

    greet = verb(greet)


class Async:
    async def _run(self, op):
        return feed(op, Rows([("hello",)]))[1]

    greet = averb(greet)


async def test_verbs_run_their_op() -> None:
    assert Blocking().greet("you", loud=True) == ["hello"]
    assert await Async().greet("you") == ["hello"]


@pytest.mark.parametrize("cls", [Blocking, Async])
def test_verbs_look_like_methods(cls) -> None:
    signature = inspect.signature(cls.greet)

    assert (cls.greet.__name__, cls.greet.__doc__) == ("greet", "Greet somebody.")
    assert str(signature) == "(self, /, name: 'str', *, loud: 'bool' = False) -> 'list[str]'"
    assert inspect.iscoroutinefunction(cls.greet) is (cls is Async)


def test_verbs_refuse_what_the_op_does_not_take() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'aloud'"):
        Blocking().greet("you", aloud=True)


# -- errors and sockets


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), awa.Unavailable),
        (psycopg.InterfaceError("the connection is closed"), awa.Unavailable),
        # Seen behind PgBouncer when its server was killed.
        (psycopg.InternalError("received 2 results from command 'SAVEPOINT'"), awa.Unavailable),
        (pg.InternalError_("an internal error of the server"), awa.DatabaseError),
        (pg.AdminShutdown("terminating connection"), awa.Unavailable),
        (pg.CannotConnectNow("the database system is starting up"), awa.Unavailable),
        (pg.TooManyConnections("sorry, too many clients already"), awa.Unavailable),
        (pg.UndefinedTable('relation "awa.jobs_hot" does not exist'), awa.SchemaNotMigrated),
        (pg.InvalidSchemaName('schema "awa" does not exist'), awa.SchemaNotMigrated),
        (pg.UndefinedTable('relation "mine" does not exist'), awa.DatabaseError),
        (pg.DivisionByZero("division by zero"), awa.DatabaseError),
        (pg.QueryCanceled("canceling statement due to statement timeout"), awa.Transient),
        (pg.UniqueViolation("duplicate key"), awa.DatabaseError),
    ],
)
def test_errors_of_psycopg_become_ours(error, expected) -> None:
    assert type(translate(error)) is expected


class FakeConnection:
    """A connection whose server is the other end of a socket pair."""

    def __init__(self, mine: socket.socket) -> None:
        self.mine = mine
        self.pgconn = SimpleNamespace(
            socket=mine.fileno(), status=psycopg.pq.ConnStatus.OK, consume_input=self.consume
        )

    def consume(self) -> None:
        if not self.mine.recv(100):
            raise psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def ends():
    mine, server = socket.socketpair()
    with mine, server:
        yield mine, server


def test_quiet_and_talking_connections_pass(ends) -> None:
    mine, server = ends
    check_socket(FakeConnection(mine))
    server.send(b"a notice")
    check_socket(FakeConnection(mine))


@pytest.mark.parametrize("farewell", [b"", b"terminating connection"])
def test_closed_connection_is_noticed_behind_its_farewell(ends, farewell) -> None:
    mine, server = ends
    server.sendall(farewell)
    server.close()
    with pytest.raises(psycopg.OperationalError):
        check_socket(FakeConnection(mine))


def test_check_takes_large_file_descriptors(ends) -> None:
    """select() refuses descriptors beyond 1024, which a busy web server has."""
    mine, server = ends
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 2000:
        pytest.skip("the limit of open files is too low")
    os.dup2(mine.fileno(), 1999)
    high = socket.socket(fileno=1999)
    try:
        check_socket(FakeConnection(high))
        server.close()
        with pytest.raises(psycopg.OperationalError):
            check_socket(FakeConnection(high))
    finally:
        high.close()
