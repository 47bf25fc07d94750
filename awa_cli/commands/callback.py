"""``awa callback``: answer jobs that wait for an external system."""

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
    help="Answer callbacks of waiting jobs, and sign and verify requests.",
    epilog="""
    awa job list --state waiting_external --columns id,kind,callback_id
    awa callback complete ID --payload '{"paid": true}'
    """,
)

Id = Annotated[str, typer.Argument(metavar="CALLBACK_ID", help="Id of the callback: a UUID.")]
Payload = Annotated[
    str | None, typer.Option(metavar="JSON", help="Answer: JSON, @FILE, or - for stdin.")
]
Secret = Annotated[
    str,
    typer.Option(
        metavar="REF",
        help="Source of the secret of 64 hex digits: env:NAME or cmd:COMMAND.",
    ),
]
Action = Annotated[
    str | None,
    typer.Option(
        metavar="ACTION", help="Action of a whole request: complete, fail, resume or heartbeat."
    ),
]
Body = Annotated[
    str, typer.Option(metavar="TEXT", help="Body of the request: TEXT, @FILE, or - for stdin.")
]
SECRET = "env:AWA_CALLBACK_HMAC_SECRET"  # noqa: S105 - a reference to the secret


@app.command(
    epilog="""
    awa callback complete 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --payload '{"paid": true}'
    """
)
def complete(ctx: typer.Context, callback_id: Id, *, payload: Payload = None) -> None:
    """Complete the job of a callback."""
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
    *,
    error: Annotated[
        str, typer.Option(metavar="TEXT", help="Error message to store with the job.")
    ],
) -> None:
    """Fail the job of a callback, without further attempts."""
    from awa_lib.ops.callbacks import fail_external

    _answer(ctx, "callback.fail", callback_id, fail_external(callback_id, error), "Failed")


@app.command(epilog="awa callback retry 8feaec61-ea03-4e4c-ab3d-f63350329dc6")
def retry(ctx: typer.Context, callback_id: Id) -> None:
    """Retry the job of a callback, with all its attempts."""
    from awa_lib.ops.callbacks import retry_external

    _answer(ctx, "callback.retry", callback_id, retry_external(callback_id), "Retried")


@app.command(
    epilog="""
    awa callback resume 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --payload @answer.json
    """
)
def resume(ctx: typer.Context, callback_id: Id, *, payload: Payload = None) -> None:
    """Resume the job of a callback: wait_for_callback returns the answer."""
    from awa_lib.ops.callbacks import resume_external

    _answer(
        ctx, "callback.resume", callback_id, resume_external(callback_id, _json(payload)), "Resumed"
    )


@app.command(epilog="awa callback heartbeat 8feaec61-ea03-4e4c-ab3d-f63350329dc6 --timeout 2h")
def heartbeat(
    ctx: typer.Context,
    callback_id: Id,
    *,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="New timeout, from now.")] = "1h",
) -> None:
    """Extend the timeout of the job of a callback."""
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
def sign(
    callback_id: Id, *, action: Action = None, body: Body = "", secret: Secret = SECRET
) -> None:
    """Print the signature of a callback; no database is needed.

    The signature is for the header X-Awa-Signature.  With --action it is for the header
    X-Awa-Request-Signature: it also covers the action, the body and the time, and it is valid once
    and for five minutes.
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
    signature: Annotated[str, typer.Argument(metavar="SIGNATURE", help="Value of the header.")],
    *,
    action: Action = None,
    body: Body = "",
    secret: Secret = SECRET,
) -> int:
    """Verify a signature: exit with status 0 if it is valid, and 6 if not.

    With --action the signature is recorded in the database, because it is valid only once.
    """
    from awa_lib.callbacks.signatures import verify_callback_request, verify_callback_signature

    key = _secret(secret)
    if action is None:
        valid = verify_callback_signature(key, callback_id, signature)
    else:
        op = verify_callback_request(key, callback_id, _known(action), _text(body), signature)
        with open_session(ctx, changing=True) as db:
            valid = db.run(op)
    result("The signature is valid" if valid else "The signature is wrong, expired or already used")
    return ExitCode.OK if valid else ExitCode.WRONG


def _answer(ctx: typer.Context, action: str, callback_id: str, op: Op[Job], done: str) -> None:
    with open_session(ctx, changing=True) as db:
        job = db.change(action, callback_id, op, lambda job: {"job_id": job.id})
    result(f"{done} job {job.id}; its state is {job.state}")


def _json(text: str | None) -> Any:
    from awa_cli.filters.values import read_json

    return None if text is None else read_json(text, "--payload")


def _text(body: str) -> bytes:
    from awa_cli.filters.values import read_body

    return read_body(body, "--body")


def _secret(reference: str) -> str:
    from awa_cli.database.target import resolve

    return resolve(reference, "the callback secret").strip()


def _known(action: str) -> str:
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import did_you_mean

    actions = ("complete", "fail", "resume", "heartbeat")
    if action in actions:
        return action
    raise InvalidInput(
        f"unknown action: {action}",
        why=f"actions are {', '.join(actions)}",
        hint=did_you_mean(action, actions, "--action "),
    )
