"""The database that a command works on.

The order of precedence is ``--database-url``, ``--context``, ``DATABASE_URL``, the current context
of the config file.  There is no other default: a deployment step with a missing variable must fail,
not migrate an empty local database.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from awa_cli.database.config import Context
    from awa_cli.invocation import Common

__all__ = ["Target", "describe", "find_target", "named_target", "of_context", "resolve"]

_WAYS: Final = (
    "pass --database-url postgresql://USER@HOST/NAME, or set DATABASE_URL; "
    "without a server: --database-url embedded:"
)
_COMMAND_SECONDS: Final = 30
_COLORS: Final = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A database.  ``label`` names it without the password."""

    url: str
    label: str
    secret: str | None = None
    """The password in the URL or of the context, never to be shown."""
    password: str | None = None
    """The password when it is not in the URL."""
    context: Context | None = None

    def scrub(self, text: str) -> str:
        """Replace the password in a text."""
        return text.replace(self.secret, "***") if self.secret else text

    @property
    def option(self) -> str:
        """Return the option that names this database in a command to copy."""
        import shlex

        if self.context is not None:
            return f"--context {shlex.quote(self.context.name)}"
        if self.secret:
            return '--database-url "$DATABASE_URL"'
        return f"--database-url {shlex.quote(self.url)}"

    @property
    def full_url(self) -> str:
        """Return a URL with the password, for the environment of another process."""
        if self.password is None:
            return self.url
        from psycopg.conninfo import make_conninfo

        return make_conninfo(self.url, password=self.password)

    def title(self, *, color: bool) -> str:
        """Return the label, preceded by the name of the context in its colour."""
        if self.context is None:
            return self.label
        name, code = self.context.name, _COLORS.get(self.context.color or "")
        if code and color:
            name = f"\x1b[{code}m{name}\x1b[0m"
        return f"{name} ({self.label})"


def find_target(options: Common) -> Target:
    """Return the database to work on.  Raises InvalidInput if none is given."""
    if (target := named_target(options)) is not None:
        return target
    if url := os.environ.get("DATABASE_URL", "").strip():
        return describe(url)
    from awa_cli.database.config import read_config
    from awa_lib.errors import InvalidInput

    config = read_config()
    if config.current is not None:
        return of_context(config.context(config.current))
    why = "neither --database-url, --context nor DATABASE_URL is set, and no context is current"
    raise InvalidInput("no database is given", why=why, hint=_WAYS)


def named_target(options: Common) -> Target | None:
    """Return the database that the command line names, or None."""
    if options.database_url and options.database_url.strip():
        return describe(options.database_url.strip())
    if options.context:
        from awa_cli.database.config import read_config

        return of_context(read_config().context(options.context))
    return None


def of_context(context: Context) -> Target:
    """Return the database of a context.  Raises InvalidInput for a reference without a value."""
    where = f"the context {context.name!r}"
    url = context.url
    if url.startswith("service:"):
        url = "service=" + url.removeprefix("service:")
    elif _is_reference(url):
        url = resolve(url, f"the url of {where}")
    target = replace(describe(url), context=context)
    if context.password is None:
        return target
    if not _is_reference(context.password):
        from awa_lib.errors import InvalidInput

        raise InvalidInput(
            f"the password of {where} is not a reference",
            why="the config file must not contain secrets",
            hint="write env:NAME or cmd:COMMAND, or use ~/.pgpass",
        )
    password = resolve(context.password, f"the password of {where}")
    return replace(target, password=password, secret=password)


def _is_reference(text: str) -> bool:
    return text.startswith(("env:", "cmd:"))


def resolve(reference: str, what: str) -> str:
    """Return the value of ``env:NAME`` or ``cmd:COMMAND``.  Raises InvalidInput."""
    from awa_lib.errors import InvalidInput

    kind, _, rest = reference.partition(":")
    if kind not in {"env", "cmd"}:
        raise InvalidInput(
            f"{what} is not known",
            why="the value is not a reference",
            hint="write env:NAME or cmd:COMMAND",
        )
    if kind == "env":
        if value := os.environ.get(rest):
            return value
        raise InvalidInput(
            f"{what} is not known", why=f"{rest} is not set", hint=f"export {rest}=…"
        )
    import shlex
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, without a shell
            shlex.split(rest),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=_COMMAND_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        why = f"{rest!r} exited with {error.returncode}"
    except subprocess.TimeoutExpired:
        why = f"{rest!r} ran longer than {_COMMAND_SECONDS} s"
    except (OSError, ValueError, IndexError) as error:
        why = f"{rest!r} cannot be run: {str(getattr(error, 'strerror', None) or error).lower()}"
    else:
        if value := done.stdout.rstrip("\n"):
            return value
        why = f"{rest!r} printed nothing"
    raise InvalidInput(f"{what} is not known", why=why, hint="see man awa-config") from None


def describe(url: str) -> Target:
    """Parse a database URL.  Raises InvalidInput, which does not quote the URL."""
    from awa_lib.db.urls import label_of, read_address

    if url.startswith("embedded:"):
        return Target(url, url)
    password = read_address(url).get("password")
    return Target(url, label_of(url), str(password) if password else None)
