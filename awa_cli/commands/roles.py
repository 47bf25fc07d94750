"""``awa roles``: roles with the least rights."""

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
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="What the names of the roles begin with.")
    ] = "awa_",
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it, in one transaction, instead of printing it.")
    ] = False,
) -> None:
    """Print the SQL that makes roles with the least rights.

    They are owner, migrator, runtime (workers), producer (inserts and reads nothing) and readonly.
    No password is set.

    Run it after awa migrate, as a superuser, or as the owner of the database who may create roles.
    It can be repeated, and takes back what was granted beyond.
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
    say("give each that logs in a password: psql -c '\\password NAME'")
