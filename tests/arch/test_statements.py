"""No statement is built from input: each is a block of sql/, or a listed exception.

What is sent is the first argument of a cursor's or connection's method.  The exceptions hold names,
which cannot be parameters: quoted by psycopg, or constants of the project.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from awa_lib.ops import waits
from awa_lib.runtime import listener

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("awa_lib/**/*.py"), *ROOT.glob("awa_cli/**/*.py")])
SENDERS = {"execute", "executemany", "copy_expert", "fetch", "fetchrow", "fetchval", "stream"}
TEXT = "statement.query.text"
BUILDERS = {"Query", "Statement"}
# Sent as it is: (module, what is sent).
SENT = {
    # The drivers send the text of a block.
    ("awa_lib/db/drive.py", TEXT),
    ("awa_lib/db/connect.py", TEXT),
    ("awa_lib/schema/online.py", TEXT),
    ("awa_lib/db/asyncpg.py", "_as_text(statement.query.text)"),
    # An empty statement begins a transaction.
    ("awa_lib/db/drive.py", "b''"),
    # The scripts of sql/migrations, and names in them that cannot be parameters.
    ("awa_lib/schema/migrate.py", "_text(conn, migration).encode()"),
    ("awa_lib/schema/online.py", "text.encode()"),
    ("awa_lib/schema/online.py", "record.encode()"),
    ("awa_lib/schema/online.py", "names.SQL(statement.query.text).format(**given)"),
    # A caller's own statement, with parameters of its own.
    ("awa_lib/client/transaction.py", "query.encode()"),
    # Databases of test runs, by blocks of sql/queries/testing.sql.
    ("awa_lib/testing/_databases.py", "sql.testing('vacuum_all').query.text"),
    ("awa_lib/testing/_databases.py", "names.SQL(text).format(**parts)"),
    # A method of a HTTP client.
    ("awa_lib/runtime/http_worker.py", "'POST'"),
    # Channels: quoted, or a constant.
    (
        "awa_lib/runtime/listener.py",
        "compose.SQL('LISTEN {}').format(compose.Identifier(channel))",
    ),
    ("awa_lib/client/waits.py", "f'LISTEN {CHANNEL}'.encode()"),
    ("awa_cli/tui/source.py", "f'LISTEN {CHANNEL}'.encode()"),
    ("awa_cli/commands/job/follow.py", "f'LISTEN {CHANNEL}'"),
}
# Who may build a statement of something else than a block.
BUILT = {
    "awa_lib/_sql.py",
    "awa_lib/db/again.py",  # a mark for the driver, which sends nothing
    "awa_lib/ops/roles.py",  # blocks with names of roles, quoted by psycopg
}
# Modules that print statements, and send none.
PRINTERS = ("awa_lib/doctor/", "awa_cli/commands/_session.py")
# Modules that fill a block with quoted names.
COMPOSERS = {
    "awa_lib/doctor/finding.py",
    "awa_lib/doctor/schedules.py",
    "awa_lib/doctor/schema.py",
    "awa_lib/ops/roles.py",
    "awa_lib/runtime/listener.py",
    "awa_lib/schema/online.py",
    "awa_lib/testing/_databases.py",
}


@cache
def nodes(source: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(source)))


@cache
def calls(source: str) -> list[ast.Call]:
    return [node for node in nodes(source) if isinstance(node, ast.Call)]


def sent(source: str) -> list[str]:
    """Return what is given to methods that send statements; also cursor.copy and copy_to_table."""
    found = []
    for call in calls(source):
        if not isinstance(call.func, ast.Attribute):
            continue
        name = call.func.attr
        if name not in SENDERS | {"copy"}:
            continue
        owner = ast.unparse(call.func.value)
        first = ast.unparse(call.args[0]) if call.args else ""
        copies = name == "copy" and owner.endswith(("cursor", "conn")) and first
        # db.conn.execute; self.execute of our own classes forwards to one of these.
        if (name in SENDERS and owner != "self" and first) or copies:
            found.append(first)
    return found


def built(source: str) -> list[str]:
    return [
        ast.unparse(call)
        for call in calls(source)
        if isinstance(call.func, ast.Name) and call.func.id in BUILDERS
    ]


def changed_texts(source: str) -> list[str]:
    """Return where the text of a query is joined, formatted or replaced."""
    found = []
    for node in nodes(source) if "query.text" in source else ():
        inside = isinstance(node, ast.BinOp | ast.JoinedStr) or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"format", "replace", "join", "format_map"}
            and not ast.unparse(node.func.value).startswith(("names.SQL(", "compose.SQL("))
        )
        if inside and re.search(r"\bquery\.text\b", ast.unparse(node)):
            found.append(ast.unparse(node))
    return found


def composed(source: str) -> list[str]:
    """Return calls of psycopg's SQL(); its argument is trusted."""
    return [
        ast.unparse(call)
        for call in calls(source)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "SQL"
        and isinstance(call.func.value, ast.Name)
    ]


def blocks_by_format(source: str) -> list[str]:
    """Return ``sql.<noun>(f"…")``: a block's name that is put together."""
    return [
        ast.unparse(call)
        for call in calls(source)
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "sql"
        and call.args
        and not isinstance(call.args[0], ast.Constant | ast.Name | ast.IfExp)
    ]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_sends_blocks_and_listed_exceptions(path) -> None:
    module, source = relative(path), path.read_text()

    assert [one for one in sent(source) if (module, one) not in SENT] == []
    assert module in BUILT or built(source) == []
    assert module in COMPOSERS or composed(source) == []
    if not module.startswith(PRINTERS):
        assert changed_texts(source) == []


def test_every_exception_is_used() -> None:
    found = {(relative(path), one) for path in SOURCES for one in sent(path.read_text())}
    assert SENT - found == set()
    assert {relative(path) for path in SOURCES if composed(path.read_text())} == COMPOSERS


def test_a_name_of_a_block_that_is_put_together_still_names_one() -> None:
    """Whatever a name holds, it is looked up in a file of sql/queries."""
    from awa_lib._sql import sql

    with pytest.raises(KeyError):
        sql.jobs("get_job; DROP TABLE awa.jobs_hot")
    found = {relative(path) for path in SOURCES if blocks_by_format(path.read_text())}
    assert found <= {"awa_lib/ops/maintenance.py", "awa_lib/ops/claims.py"}


def test_the_channels_are_constants() -> None:
    for name in (
        waits.CHANNEL,
        listener.CANCEL_CHANNEL,
        listener.CALLBACK_CHANNEL,
        listener.POLICY_CHANNEL,
    ):
        assert re.fullmatch(r'"?[a-z_:]+"?', name)


@pytest.mark.parametrize(
    "line",
    [
        'conn.execute(f"SELECT {x}")',
        'cursor.execute("SELECT " + x)',
        'conn.execute("SELECT %s" % x)',
        'cursor.copy("COPY {}".format(x))',
        "await conn.fetch(text)",
        "db.conn.execute(statement.query.text + where)",
    ],
)
def test_what_is_sent_otherwise_would_be_found(line) -> None:
    (one,) = sent(f"async def f():\n    {line}")
    assert not any(one == known for _, known in SENT)


def test_what_is_built_otherwise_would_be_found() -> None:
    assert built('Statement(Query("x", text, ()), ())')
    assert changed_texts('a = statement.query.text + " LIMIT 1"')
    assert changed_texts('a = f"{statement.query.text} LIMIT 1"')
    assert changed_texts('a = statement.query.text.replace("x", y)')
    assert composed("names.SQL(x)")
    assert blocks_by_format('sql.jobs(f"get_{x}")')
