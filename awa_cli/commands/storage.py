"""``awa storage``: the record of a move to another storage engine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from awa_cli.output import show_document
from awa_cli.session import open_session

__all__ = ["app"]

app = typer.Typer(
    help="Look at and change the record of a storage transition.",
    epilog="awa storage status",
)


@app.command(epilog="awa storage status | jq -r '.state'")
def status(ctx: typer.Context) -> None:
    """Print where the transition stands and what blocks its next steps, as JSON."""
    from awa_lib.reads.storage import storage_report

    with open_session(ctx) as db:
        show_document(db.run(storage_report()))


@app.command(epilog='awa storage prepare --engine queue_storage --details \'{"schema": "awa"}\'')
def prepare(
    ctx: typer.Context,
    engine: Annotated[str, typer.Option(metavar="NAME", help="The engine to move to.")],
    details: Annotated[
        str, typer.Option(metavar="JSON", help="An object to keep with the record.")
    ] = "{}",
) -> None:
    """Note another engine as the one to move to; jobs go on as before.

    Prints the status afterwards.
    """
    from awa_lib.ops.storage import prepare as prepare_storage
    from awa_lib.reads.storage import storage_report

    extra = _object(details)
    with open_session(ctx, changing=True) as db:
        db.change("storage.prepare", engine, prepare_storage(engine, extra))
        show_document(db.run(storage_report()))


@app.command(epilog="awa storage abort")
def abort(ctx: typer.Context) -> None:
    """Forget the prepared engine; harmless when there is none.

    Prints the status afterwards.
    """
    from awa_lib.ops.storage import abort as abort_storage
    from awa_lib.reads.storage import storage_report

    with open_session(ctx, changing=True) as db:
        db.change("storage.abort", "storage", abort_storage())
        show_document(db.run(storage_report()))


def _object(text: str) -> dict[str, Any]:
    from awa_cli.inputs import read_json
    from awa_lib.errors import InvalidInput

    value = read_json(text, "--details")
    if not isinstance(value, dict):
        raise InvalidInput(
            "--details is not a JSON object", hint='write it like --details \'{"schema": "awa"}\''
        )
    return value
