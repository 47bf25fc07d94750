"""``awa callback``: answer jobs that wait for an outside system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.terminal.output import result

if TYPE_CHECKING:
    from awa_lib._sql import Op
    from awa_lib.models import Job

__all__ = ["app"]

app = typer.Typer(
    help="Answer callbacks of waiting jobs, sign and verify their requests.",
    epilog="""
    awa job list --state waiting_external --columns id,kind,callback_id
    awa callback complete ID --payload '{"paid": true}'
    """,
)

Id = Annotated[str, typer.Argument(metavar="CALLBACK_ID", help="Id of the callback, a UUID.")]
Payload = Annotated[
    str | None, typer.Option(metavar="JSON", help="The answer; JSON, @FILE, or - for stdin.")
]
Secret = Annotated[
    str,
    typer.Option(
        metavar="REF",
        help="Where the secret of 64 hex digits is: env:NAME or cmd:COMMAND.",
    ),
]
Action = Annotated[
    str | None,
    typer.Option(metavar="ACTION", help="complete, fail, resume or heartbeat: sign the request."),
]
Body = Annotated[
    str, typer.Option(metavar="TEXT", help="The request's body; TEXT, @FILE, or - for stdin.")
]
SECRET = "env:AWA_CALLBACK_HMAC_SECRET"  # noqa: S105 - where it is, not what it is


@app.command(
    epilog="""
    awa callback complete 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --payload '{"paid": true}'
    """
)
def complete(ctx: typer.Context, callback_id: Id, payload: Payload = None) -> None:
    """End the job of a callback as completed."""
    from awa_lib.ops.callbacks import complete_external

    _answer(
        ctx,
        "callback.complete",
        callback_id,
        complete_external(callback_id, _json(payload)),
        "Completed",
    )


@app.command(
    epilog="awa callback fail 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --error 'card declined'"
)
def fail(
    ctx: typer.Context,
    callback_id: Id,
    error: Annotated[str, typer.Option(metavar="TEXT", help="What went wrong.")],
) -> None:
    """End the job of a callback as failed, whatever attempts are left."""
    from awa_lib.ops.callbacks import fail_external

    _answer(ctx, "callback.fail", callback_id, fail_external(callback_id, error), "Failed")


@app.command(epilog="awa callback retry 8feaec61-ea03-4e4c-ab3d-f63350329dc6")
def retry(ctx: typer.Context, callback_id: Id) -> None:
    """Start the waiting job of a callback over."""
    from awa_lib.ops.callbacks import retry_external

    _answer(ctx, "callback.retry", callback_id, retry_external(callback_id), "Retried")


@app.command(
    epilog="""
    awa callback resume 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --payload @answer.json
    """
)
def resume(ctx: typer.Context, callback_id: Id, payload: Payload = None) -> None:
    """Hand an answer to the handler that waits in wait_for_callback."""
    from awa_lib.ops.callbacks import resume_external

    _answer(
        ctx, "callback.resume", callback_id, resume_external(callback_id, _json(payload)), "Resumed"
    )


@app.command(epilog="awa callback heartbeat 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --timeout 2h")
def heartbeat(
    ctx: typer.Context,
    callback_id: Id,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="How long it may still take from now.")
    ] = "1h",
) -> None:
    """Start the time-out of a waiting job anew."""
    from awa_cli.filters.values import read_duration
    from awa_lib.ops.callbacks import heartbeat_callback

    seconds = read_duration(timeout, "--timeout").total_seconds()
    _answer(
        ctx, "callback.heartbeat", callback_id, heartbeat_callback(callback_id, seconds), "Extended"
    )


@app.command(
    epilog="""
    awa callback sign 8feaec61-ea03-4e4c-ab3d-f63350329dc6
    awa callback sign 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --action complete --body @body.json
    """
)
def sign(callback_id: Id, action: Action = None, body: Body = "", secret: Secret = SECRET) -> None:
    """Print the signature of a callback; needs no database.

    For the header X-Awa-Signature, or with --action for X-Awa-Request-Signature, which also
    covers action, body and time, and is good once, for five minutes.
    """
    from awa_lib.callbacks.signatures import sign_callback, sign_callback_request

    key = _secret(secret)
    if action is None:
        result(sign_callback(key, callback_id))
    else:
        result(sign_callback_request(key, callback_id, _known(action), _text(body)))


@app.command(
    epilog="""
    awa callback verify 8feaec61-ea03-4e4c-ab3d-f63350329dc6 SIGNATURE
    awa callback verify 8feaec61-ea03-4e4c-ab3d-f63350329dc6 SIGNATURE --action fail --body @body
    """
)
def verify(
    ctx: typer.Context,
    callback_id: Id,
    signature: Annotated[str, typer.Argument(metavar="SIGNATURE", help="What the header held.")],
    action: Action = None,
    body: Body = "",
    secret: Secret = SECRET,
) -> int:
    """Say whether a signature is right: status 0, else 6.

    With --action the database is asked too, and remembers the signature: it is good once.
    """
    from awa_lib.callbacks.signatures import verify_callback_request, verify_callback_signature

    key = _secret(secret)
    if action is None:
        right = verify_callback_signature(key, callback_id, signature)
    else:
        op = verify_callback_request(key, callback_id, _known(action), _text(body), signature)
        with open_session(ctx, changing=True) as db:
            right = db.run(op)
    result("The signature is right" if right else "The signature is wrong, too old, or used")
    return ExitCode.OK if right else ExitCode.WRONG


def _answer(ctx: typer.Context, action: str, callback_id: str, op: Op[Job], done: str) -> None:
    with open_session(ctx, changing=True) as db:
        job = db.change(action, callback_id, op, lambda job: {"job_id": job.id})
    result(f"{done} job {job.id}, it is {job.state}")


def _json(text: str | None) -> Any:
    from awa_cli.filters.values import read_json

    return None if text is None else read_json(text, "--payload")


def _text(body: str) -> bytes:
    from awa_cli.filters.values import read_source

    return read_source(body, "--body").encode()


def _secret(reference: str) -> str:
    from awa_cli.database.target import resolve

    return resolve(reference, "the callback secret").strip()


def _known(action: str) -> str:
    from difflib import get_close_matches

    from awa_lib.errors import InvalidInput

    actions = ("complete", "fail", "resume", "heartbeat")
    if action in actions:
        return action
    close = get_close_matches(action, actions, n=1)
    raise InvalidInput(
        f"unknown action: {action}",
        why=f"actions are {', '.join(actions)}",
        hint=f"did you mean: --action {close[0]}" if close else None,
    )
