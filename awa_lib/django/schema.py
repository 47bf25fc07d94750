"""awa's migrations on a database of Django."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import connections

from awa_lib.django.backend import backends
from awa_lib.errors import AwaError, ValidationError
from awa_lib.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.schema.migrate import Migration, SchemaStatus, Step

__all__ = ["after_migrate", "apply", "databases", "plan", "told"]


def databases() -> list[str]:
    """Return the aliases of the databases that hold jobs, sorted."""
    return sorted({backend.given.database for backend in backends().values()})


def plan(alias: str) -> SchemaStatus:
    """Return the state of the schema and what is pending.  Raises as ``migrate.plan``."""
    return migrate.plan(_connection(alias))


def apply(alias: str, on_step: Callable[[Step], None] | None = None) -> list[Migration]:
    """Apply pending migrations and return them.  Raises as ``migrate.apply``."""
    if connections[alias].in_atomic_block:
        # Perhaps without a statement yet, so that PostgreSQL knows of no transaction.
        raise ValidationError(
            "migrations cannot run inside a transaction",
            why="each script commits by itself and some build indexes online",
            hint="leave the block of atomic first",
        )
    return migrate.apply(_connection(alias), on_step=on_step)


def _connection(alias: str) -> Any:
    connection = connections[alias]
    connection.ensure_connection()
    return connection.connection


def after_migrate(*, using: str, verbosity: int = 1, stdout: Any = None, **_: Any) -> None:
    """Apply awa's migrations after Django's.  A receiver of post_migrate; raises CommandError.

    Reads the state first, because a flush of the test database sends the signal too.
    """
    wanted = [one.given.database for one in backends().values() if one.given.migrate]
    if using not in wanted or connections[using].in_atomic_block:
        return
    try:
        if not plan(using).pending:
            return
        applied = apply(using)
    except AwaError as error:
        raise told(error) from error
    if verbosity and stdout is not None:
        stdout.write(f"  Applied {len(applied)} migrations of awa\n")


def told(error: AwaError) -> CommandError:
    """Return an error of ours as one that manage.py shows without a traceback."""
    cause = error.why and f"cause: {error.why}"
    return CommandError("\n".join(line for line in (str(error), cause, error.hint) if line))
