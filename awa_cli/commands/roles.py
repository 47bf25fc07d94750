"""``awa roles``: database roles with minimal privileges."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.terminal.output import result, say, show_text

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="""
    awa roles
    awa roles --prefix shop_ > roles.sql
    awa roles --apply --database-url postgresql://postgres@localhost/app
    """
)
def roles(
    ctx: typer.Context,
    *,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Prefix of the names of the roles.")
    ] = "awa_",
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Run the SQL in one transaction, instead of printing it."),
    ] = False,
) -> None:
    """Print the SQL that creates roles with minimal privileges.

    The roles are owner, migrator, runtime (for workers), producer (inserts jobs and reads nothing)
    and readonly.  They have no passwords.

    Run the SQL after awa migrate, as a superuser, or as a database owner with CREATEROLE.  It can
    be run again, and then revokes privileges that were granted in addition.
    """
    from awa_lib.ops.roles import apply_roles, role_script
    from awa_lib.schema.roles import PURPOSES, role_name

    if not apply:
        show_text(role_script(prefix))
        return
    names = [role_name(purpose, prefix) for purpose in PURPOSES]
    with open_session(ctx, changing=True) as db:
        db.change("roles.apply", ", ".join(names), apply_roles(prefix))
    result(f"Roles are in place: {', '.join(names)}")
    say("Set a password for each role that logs in: psql -c '\\password NAME'")
