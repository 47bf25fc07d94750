"""``awa access``: users and tokens of the web server."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from awa_cli.documents.reports import Entry
from awa_cli.input import decoded, parse_toml, stdin
from awa_cli.invocation import common
from awa_cli.parser.options import TABLE, Output
from awa_cli.terminal.output import result, say, show_rows

__all__ = ["app"]

app = typer.Typer(
    help="Manage users and tokens of the web server.",
    epilog="""
    awa access user alice --scope operate
    awa access token ci --scope read
    awa serve --host 0.0.0.0 --auth access.toml
    """,
)


class Scope(StrEnum):
    """What a user or token may do."""

    read = "read"
    operate = "operate"


File = Annotated[
    Path, typer.Option("--file", metavar="FILE", envvar="AWA_AUTH", help="Access file.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name, of letters, digits and _ . @ -")]
May = Annotated[Scope, typer.Option(metavar="SCOPE", help="read, or operate to make changes too.")]
FILE = Path("access.toml")


@app.command(
    epilog="""
    awa access user alice --scope operate
    echo "$PASSWORD" | awa access user alice
    """
)
def user(name: Name, *, scope: May = Scope.read, file: File = FILE) -> None:
    """Add a user, or change the password and scope of a user.

    Asks for the password; without a terminal it is read from the first line of stdin.  The file
    stores only a hash.
    """
    from awa_cli.access import hash_password
    from awa_lib.errors import InvalidInput

    found = _read(file, name)
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = stdin().readline().rstrip("\n")
    if len(password) < 8:  # noqa: PLR2004 - the usual minimum
        raise InvalidInput(
            "the password is too short",
            why="it has fewer than 8 characters",
            hint="choose a longer password",
        )
    found.setdefault("users", {})[name] = {
        "password": hash_password(password),
        "scope": scope.value,
    }
    _write(file, found)
    result(f"{name} may {scope.value}")


@app.command(epilog="awa access token ci --scope read")
def token(name: Name, *, scope: May = Scope.read, file: File = FILE) -> None:
    """Create a token for a program and print it.

    The token cannot be shown again, because the file stores only a hash.  An existing token of this
    name becomes invalid.
    """
    from awa_cli.access import hash_token, new_token

    found = _read(file, name)
    made = new_token()
    found.setdefault("tokens", {})[name] = {"sha256": hash_token(made), "scope": scope.value}
    _write(file, found)
    say(f"{name} may {scope.value}; send the token as: Authorization: Bearer TOKEN")
    result(made)


@app.command(epilog="awa access remove alice")
def remove(name: Name, *, file: File = FILE) -> None:
    """Remove a user or a token.

    Running servers notice within a second.
    """
    from awa_lib.errors import NotFound

    found = _read(file, name)
    gone = [found[kind].pop(name, None) for kind in ("users", "tokens") if kind in found]
    if not any(gone):
        raise NotFound(
            f"no user or token is named {name!r} in {file}",
            hint=f"list them: awa access list --file {file}",
        )
    _write(file, found)
    result(f"Removed {name}")


@app.command("list", epilog="awa access list")
def list_(ctx: typer.Context, *, file: File = FILE, output: Output = TABLE) -> None:
    """List users and tokens.

    Passwords and tokens are not stored and cannot be shown.
    """
    from awa_cli.views.columns import ACCESS

    found = _read(file)
    rows = [
        Entry(name, kind.removesuffix("s"), table.get("scope", ""))
        for kind in ("users", "tokens")
        for name, table in sorted(found.get(kind, {}).items())
    ]
    if "proxy" in found:
        proxy = found["proxy"]
        rows.append(Entry(str(proxy.get("header")), "proxy", proxy.get("scope", "")))
    show_rows(rows, ACCESS, output, common(ctx), empty="No users or tokens found.")


def _read(file: Path, name: str | None = None) -> dict[str, Any]:

    from awa_cli.access import NAME, read_access
    from awa_lib.errors import InvalidInput

    if name is not None and not NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is not a valid name",
            why="a name has letters, digits and _ . @ -, and at most 64 characters",
        )
    if not file.exists():
        return {}
    if file.stat().st_size == 0:
        return {}
    read_access(file)
    return parse_toml(decoded(file.read_bytes()))


def _write(file: Path, found: dict[str, Any]) -> None:
    """Replace the file atomically; only its owner may read it."""
    import tomli_w

    kept = {key: table for key, table in found.items() if table}
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(tomli_w.dumps(kept))
    draft.replace(file)
