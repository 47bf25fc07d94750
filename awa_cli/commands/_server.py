"""What ``awa serve`` and ``awa callbacks serve`` share: options, and running the HTTP server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.invocation import common

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from awa_cli.web.launch import Settings
    from awa_lib.db.pool import PoolLimits

__all__ = [
    "Host",
    "PoolIdle",
    "PoolLifetime",
    "PoolMax",
    "PoolMin",
    "PoolWait",
    "Port",
    "Secret",
    "Strict",
    "TrustedProxy",
    "Verify",
    "address_of",
    "announce",
    "env_flag",
    "pool_limits",
    "read_proxies",
    "read_signing",
    "run",
]

_TRUE: Final = frozenset({"1", "true", "yes", "on"})

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[
    int, typer.Option(metavar="N", min=0, max=65535, help="Port to listen on; 0 for any free port.")
]
PoolMax = Annotated[
    int,
    typer.Option(metavar="N", min=1, envvar="AWA_POOL_MAX", help="Open at most N connections."),
]
PoolMin = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, envvar="AWA_POOL_MIN", help="Keep at least N connections open."
    ),
]
PoolIdle = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=1,
        envvar="AWA_POOL_IDLE_TIMEOUT",
        help="Close a connection that was idle for this time.",
    ),
]
PoolLifetime = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=1,
        envvar="AWA_POOL_MAX_LIFETIME",
        help="Replace a connection after this time.",
    ),
]
PoolWait = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.1,
        envvar="AWA_POOL_ACQUIRE_TIMEOUT",
        help="Wait at most this time for a free connection.",
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        envvar="AWA_CALLBACK_HMAC_SECRET",
        show_default=False,
        help="Secret of callback signatures, 64 hex digits; prefer the environment variable.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict-signatures", help="Accept only signatures that cover the whole callback request."
    ),
]
Verify = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        envvar="AWA_CALLBACK_VERIFY",
        show_default=False,
        help="Function that checks the signature of raw callbacks, which are sent with ?raw=1.",
    ),
]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        envvar="AWA_TRUSTED_PROXY",
        help="Address or network of a proxy whose X-Forwarded-* headers count; may be repeated.",
    ),
]


def env_flag(name: str) -> bool:
    """Return whether an environment variable is set to a true value."""
    return os.environ.get(name, "").lower() in _TRUE


def pool_limits(most: int, least: int, idle: float, lifetime: float, wait: float) -> PoolLimits:
    """Return the limits of the connection pool."""
    from awa_lib.db.pool import PoolLimits

    return PoolLimits(most, min(least, most), idle, lifetime, wait)


def read_signing(secret: str | None, verify: str | None, *, strict: bool) -> dict[str, Any]:
    """Return the settings that say how callbacks are checked.  Raises InvalidInput."""
    return {"secret": _secret(secret), "verify": _function(verify), "strict": strict}


def _secret(text: str | None) -> bytes | None:
    """Return the key of callback signatures.  Raises InvalidInput, without the secret."""
    from awa_lib.callbacks.signatures import secret_key
    from awa_lib.errors import InvalidInput

    if not text:
        return None
    try:
        return secret_key(text.strip())
    except InvalidInput as error:
        raise InvalidInput(
            f"invalid callback HMAC secret: {error}", hint="create one: openssl rand -hex 32"
        ) from None


def _function(place: str | None) -> Callable[..., Any] | None:
    """Import the function that checks raw callbacks.  Raises InvalidInput."""
    from awa_cli.worker.loader import load_function
    from awa_lib.validation import takes

    if not place:
        return None
    found = load_function(place, "--verify")
    if not takes(found, 2):
        from awa_lib.errors import InvalidInput

        raise InvalidInput(
            f"--verify {place} does not take the body and the headers",
            hint="write it like: def check(body: bytes, headers) -> bool",
        )
    return found


def read_proxies(texts: list[str] | None) -> frozenset[str]:
    """Return the addresses of trusted proxies.  Raises InvalidInput."""
    from awa_cli.addresses import parse_networks
    from awa_lib.errors import InvalidInput

    found = frozenset(one for text in texts or () for one in text.replace(",", " ").split())
    try:
        parse_networks(found)
    except InvalidInput as error:
        raise InvalidInput(f"--trusted-proxy: {error}", why=error.why, hint=error.hint) from None
    return found


def run(
    ctx: typer.Context, settings: Settings, host: str, port: int, *, callbacks: str | None = None
) -> int:
    """Serve until a signal; with ``callbacks``, serve only callbacks, below that path."""
    from awa_cli.database.session import served
    from awa_cli.database.target import find_target
    from awa_cli.terminal.output import say
    from awa_cli.web.launch import application, bind, serve
    from awa_cli.worker.logs import set_up
    from awa_cli.worker.supervised import stop_with_parent

    target = find_target(common(ctx))
    part = os.environ.get("AWA_SERVE_PART")
    set_up(verbose=common(ctx).verbose)
    stop_with_parent()
    with served(target) as url:
        full = target.full_url if url == target.url else url
        app = application(full, settings, callbacks=callbacks)
        # A part listens on the port that its parent holds, which may have been chosen freely.
        sock = bind(host, port if part is None else int(part), shared=part is not None)
        if part is None:
            say(f"database: {target.title(color=False)}")
            mode = " (forced read-only)" if settings.read_only else ""
            announce(f"AWA UI listening on {address_of(sock)}{settings.path_prefix}{mode}")
            if callbacks is not None:
                say(f"callbacks: {address_of(sock)}{callbacks}/ID/complete|fail|resume|heartbeat")
        serve(app, sock)
    return 0


def announce(text: str) -> None:
    """Print a line and flush it, because the process that started the server may wait for it."""
    import sys

    from awa_cli.terminal.output import result

    result(text)
    sys.stdout.flush()


def address_of(sock: socket.socket) -> str:
    """Return the URL of a listening socket."""
    from awa_cli.addresses import bracketed

    host, port = sock.getsockname()[:2]
    return f"http://{bracketed(host)}:{port}"
