"""A server for a test run, and a fresh migrated database for each test.

The processes of a run share the server: an embedded server that stops after the last of them, or
the server of AWA_TEST_DATABASE_URL.  The first process that needs a database builds a migrated
template; tests get clones of it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg import sql as names

from awa_lib._sql import Op, Rows, sql
from awa_lib.db.connect import Purpose, connect
from awa_lib.db.drive import run
from awa_lib.db.translate import translate
from awa_lib.errors import AwaError, ValidationError
from awa_lib.schema.migrate import apply
from awa_lib.testing._paths import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from awa_lib._sql import Statement

__all__ = ["Postgres", "clean_up", "serve"]

# Nothing is synced to disk, because the data is deleted at the end.
SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    # Checkpoints and vacuum must not disturb the timing of tests.
    "autovacuum": "off",
    "max_wal_size": "256MB",
}
_VARIABLE: Final = "AWA_TEST_DATABASE_URL"
_TESTS: Final = Purpose("awa tests", checked=False)
# STRATEGY file_copy, the only way of older servers: cheaper than the WAL of a small template.
_STRATEGIES_SINCE: Final = 150000
# Databases of finished tests that wait for their drop.
_KEPT: Final = 2


@dataclass
class Postgres:
    """The server of a test run, and an administrator's connection to it."""

    run_id: str
    url_of: Callable[[str], str]
    admin: psycopg.Connection[Any]
    left: list[str] = field(default_factory=list)
    in_kernel: bool = False

    def ask(self, statement: Statement) -> Rows:
        """Run one statement."""
        return run(self.admin, _one(statement))

    def execute(self, text: str, **identifiers: str) -> None:
        """Run a template: the name of a database cannot be a parameter."""
        parts = {key: names.Identifier(name) for key, name in identifiers.items()}
        try:
            self.admin.execute(names.SQL(text).format(**parts))
        except psycopg.Error as error:
            raise translate(error) from error

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Create a database, yield its URL, and drop it some time after the block.

        Not at once: closed connections take a moment to end, and PostgreSQL waits for them in
        steps of 100 ms.  The last databases are dropped with the run.
        """
        while len(self.left) > _KEPT:
            self._drop(self.left.pop(0))
        name = f"awa_test_{self.run_id}_{uuid.uuid4().hex[:16]}"
        if self.admin.info.server_version >= _STRATEGIES_SINCE:
            clone = sql.testing("clone_files")
        else:
            clone = sql.testing("clone_database")
        try:
            self.execute(clone.query.text, name=name, template=template)
        except AwaError:
            if not self.in_kernel:
                raise
            self.in_kernel = False
            self.ask(sql.testing("copy_by_the_server"))
            self.execute(clone.query.text, name=name, template=template)
        try:
            yield self.url_of(name)
        finally:
            self.left.append(name)

    def copy_in_the_kernel(self) -> None:
        """Let the kernel copy the files of databases, where it can: that takes half the time."""
        self.in_kernel = len(self.ask(sql.testing("copy_in_the_kernel"))) > 0

    def template(self) -> str:
        """Return the name of the migrated template, which is built once per run."""
        name = f"awa_test_{self.run_id}_template"
        self.ask(sql.testing("lock_template", name=name))
        try:
            if [name] not in [list(row) for row in self.ask(sql.testing("databases", prefix=name))]:
                self._build(name)
        finally:
            self.ask(sql.testing("unlock_template", name=name))
        return name

    def _build(self, name: str) -> None:
        unfinished = f"awa_test_{self.run_id}_unfinished"
        self._drop(unfinished)
        self.execute(sql.testing("create_database").query.text, name=unfinished)
        with connect(self.url_of(unfinished), _TESTS) as conn:
            apply(conn)
            conn.execute(sql.testing("vacuum_all").query.text)
        # The first connection caches the catalog in a file; clones that have it save 3 ms.
        with connect(self.url_of(unfinished), _TESTS):
            pass
        self.execute(sql.testing("rename_database").query.text, name=unfinished, new=name)

    def _drop(self, name: str) -> None:
        self.execute(sql.testing("drop_database").query.text, name=name)

    def drop_all(self) -> None:
        """Drop every database of the run."""
        for (name,) in self.ask(sql.testing("databases", prefix=f"awa_test_{self.run_id}_")):
            self._drop(name)


def _one(statement: Statement) -> Op[Rows]:
    return (yield statement)


@contextmanager
def serve(run_id: str) -> Iterator[Postgres]:
    """Yield the server of the run.  Raises EmbeddedError, Unavailable or ValidationError."""
    given = os.environ.get(_VARIABLE)
    if given is not None:
        url_of = _sibling(given)
        with _connect(given) as admin:
            # Its directory tells pytest_unconfigure that there is something to clean up.
            make(run_id)
            yield Postgres(run_id, url_of, admin)
        return
    from awa_lib.embedded import acquire

    with (
        acquire(make(run_id) / "pg", settings=SETTINGS) as server,
        _connect(server.url_of("postgres")) as admin,
    ):
        postgres = Postgres(run_id, server.url_of, admin)
        postgres.copy_in_the_kernel()
        yield postgres


def _connect(url: str) -> psycopg.Connection[Any]:
    try:
        return connect(url, _TESTS)
    except psycopg.Error as error:
        raise translate(error) from error


def _sibling(url: str) -> Callable[[str], str]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValidationError(
            f"{_VARIABLE} cannot be read",
            why="it is not a postgresql:// URL",
            hint="set it to postgresql://user:password@host:5432/database; its role needs CREATEDB",
        )
    query = f"?{parts.query}" if parts.query else ""
    return lambda name: f"{parts.scheme}://{parts.netloc}/{name}{query}"


def clean_up(run_id: str) -> None:
    """Remove the databases of the run, or its whole embedded server."""
    base = make(run_id)
    given = os.environ.get(_VARIABLE)
    if given is not None:
        with _connect(given) as admin:
            Postgres(run_id, _sibling(given), admin).drop_all()
    else:
        from awa_lib.embedded import reset

        reset(base / "pg")
    shutil.rmtree(base, ignore_errors=True)
