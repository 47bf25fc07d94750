"""Find and parse ``sql/``: the statements that the project sends, as named blocks.

A file ``sql/queries/<noun>.sql`` holds blocks that start with ``-- name: <block>``, go on with
comment lines, and hold one statement with ``:param`` placeholders.  ``:job.*`` stands for the
column list ``-- columns: job`` in ``columns.sql``.  A block is compiled on first use to ``$1``
placeholders, which psycopg's raw cursors and asyncpg both send as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import cache, wraps
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "Op",
    "Query",
    "Rows",
    "Statement",
    "atomic",
    "compute",
    "sql",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_COLUMNS = re.compile(r"^-- columns: (\w+)\s*$", re.MULTILINE)
_LIST = re.compile(r":(\w+)\.\*")
_PARAM = re.compile(r"'(?:[^']|'')*'|::|:([a-z_][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Query:
    """One named block: its compiled text and the parameter names in ``$n`` order."""

    name: str
    text: str
    params: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A query with its parameter values, ready to send."""

    query: Query
    values: tuple[Any, ...]
    # Only for COPY … FROM STDIN: the blocks of text to send.
    data: Iterable[str] | None = None

    @property
    def work(self) -> Callable[[], Any] | None:
        """Return the function that ``compute`` was given, if any."""
        return self.values[0] if self.query is _COMPUTE else None


# An atomic op yields these around its statements; the driver turns them into a transaction, or into
# a savepoint inside one.
BEGIN: Final = Statement(Query("begin", "", ()), ())
COMMIT: Final = Statement(Query("commit", "", ()), ())
ROLLBACK: Final = Statement(Query("rollback", "", ()), ())


def compute(call: Callable[[], Any]) -> Statement:
    """Build a statement for a function that would block an event loop; its result is one value."""
    return Statement(_COMPUTE, (call,))


_COMPUTE: Final = Query("compute", "", ())


class Rows(list[tuple[Any, ...]]):
    """The rows of one statement, with their column names."""

    def __init__(self, rows: Iterable[tuple[Any, ...]] = (), columns: tuple[str, ...] = ()) -> None:
        super().__init__(rows)
        self.columns = columns

    def into(self, cls: Callable[..., T]) -> list[T]:
        """Build one ``cls`` per row; the column aliases are its field names."""
        return [cls(**dict(zip(self.columns, row, strict=True))) for row in self]

    def scalar(self) -> Any:
        """Return the first column of the first row."""
        return self[0][0]

    @classmethod
    def of(cls, *records: dict[str, Any]) -> Self:
        """Build rows for tests that feed an op."""
        columns = tuple(records[0]) if records else ()
        return cls([tuple(record[c] for c in columns) for record in records], columns)


Op = Generator[Statement, Rows, R]


def atomic(op: Callable[P, Op[R]]) -> Callable[P, Op[R]]:
    """Run all statements of an op in one transaction, or in a savepoint of an open one."""

    @wraps(op)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Op[R]:
        yield BEGIN
        try:
            result = yield from op(*args, **kwargs)
        except Exception:
            yield ROLLBACK
            raise
        yield COMMIT
        return result

    return wrapper


@cache
def folder() -> Traversable:
    """Return the ``sql`` folder: the packaged copy, else the checkout's.

    An editable install leaves a copy in site-packages that Python never imports from; the checkout
    has no packaged folder, so it uses its own.
    """
    packaged = files("awa_lib") / "_sql_files"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "sql"


def _read(noun: str) -> str:
    return (folder() / "queries" / f"{noun}.sql").read_text(encoding="utf-8")


def _split(pattern: re.Pattern[str], source: str) -> dict[str, str]:
    parts = pattern.split(source)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _without_comments(body: str) -> str:
    lines = body.splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("--"))


@cache
def column_lists() -> dict[str, str]:
    """Return the column lists of ``columns.sql`` by name."""
    lists = _split(_COLUMNS, _read("columns"))
    return {name: _without_comments(body) for name, body in lists.items()}


def expand(noun: str, source: str) -> str:
    """Replace each ``:name.*`` by its column list.  Raises ValueError for an unknown name."""

    def columns(match: re.Match[str]) -> str:
        lists = column_lists()
        if (name := match.group(1)) not in lists:
            line = source.count("\n", 0, match.start()) + 1
            raise ValueError(
                f"sql/queries/{noun}.sql, line {line}: unknown column list {match.group()!r}; "
                f"columns.sql has {', '.join(lists)}"
            )
        return lists[name]

    return _LIST.sub(columns, source)


@cache
def blocks(noun: str) -> dict[str, str]:
    """Read ``sql/queries/<noun>.sql`` once and return its blocks by name, not yet compiled."""
    return _split(_NAME, expand(noun, _read(noun)))


def compile_block(name: str, body: str) -> Query:
    """Compile one block: drop comment lines, number the ``:param`` placeholders."""
    order: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        param = match.group(1)
        if param is None:
            return match.group(0)
        return f"${order.setdefault(param, len(order) + 1)}"

    return Query(name, _PARAM.sub(number, _without_comments(body)), tuple(order))


@cache
def query(noun: str, name: str) -> Query:
    """Return one block, compiled once.  Raises KeyError for an unknown name."""
    return compile_block(name, blocks(noun)[name])


class _Area:
    """One query file; calling it with a block name and parameters builds a statement."""

    def __init__(self, noun: str) -> None:
        self.noun = noun

    def __call__(self, name: str, /, **params: Any) -> Statement:
        block = query(self.noun, name)
        if len(params) != len(block.params):
            raise TypeError(f"{self.noun}.{name} takes {block.params}, got {tuple(params)}")
        return Statement(block, tuple([params[key] for key in block.params]))

    def copy(self, name: str, data: Iterable[str]) -> Statement:
        """Build a ``COPY … FROM STDIN`` that sends ``data``."""
        return Statement(query(self.noun, name), (), data)


class _Sql:
    """``sql.jobs("get_job", id=7)``: attribute access names the file."""

    def __getattr__(self, noun: str) -> _Area:
        area = _Area(noun)
        setattr(self, noun, area)
        return area


sql: Final = _Sql()
