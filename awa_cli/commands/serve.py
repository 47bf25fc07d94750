"""``awa serve``: pages, REST API, callbacks, health and metrics over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.commands._extras import need_serve
from awa_cli.invocation import common
from awa_cli.parser.options import Redact

if TYPE_CHECKING:
    import socket

    from awa_cli.web.settings import Settings

__all__ = ["app", "read_secret", "run"]

app = typer.Typer()

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port.")]
Auth = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="AWA_AUTH", help="Who may come in; made by awa access."),
]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Change nothing.  [env var: AWA_READ_ONLY]")
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Name this server is called by; may be repeated."),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="Origin whose pages may use the API; may be repeated."),
]
Workers = Annotated[int, typer.Option(metavar="N", min=1, help="Processes behind the one port.")]
CacheTtl = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0, envvar="AWA_CACHE_TTL", help="Age of cached answers."),
]
PoolMax = Annotated[
    int, typer.Option(metavar="N", min=1, envvar="AWA_POOL_MAX", help="Most connections.")
]
PoolMin = Annotated[
    int, typer.Option(metavar="N", min=0, envvar="AWA_POOL_MIN", help="Connections kept when idle.")
]
PoolIdle = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=1, envvar="AWA_POOL_IDLE_TIMEOUT", help="Close idle ones after."
    ),
]
PoolLifetime = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=1, envvar="AWA_POOL_MAX_LIFETIME", help="Replace old ones after."
    ),
]
PoolWait = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0.1, envvar="AWA_POOL_ACQUIRE_TIMEOUT", help="Wait for a free one."
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        envvar="AWA_CALLBACK_HMAC_SECRET",
        show_default=False,
        help="Key of callback signatures, 64 hex digits; better in the environment.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict-signatures", help="Take signatures of whole callback requests only."),
]
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


@app.command(
    epilog="""
    awa serve
    awa serve --context production --read-only
    awa serve --host 0.0.0.0 --auth access.toml --allowed-host jobs.example.org
    awa serve --redact 'password|token|secret'
    """
)
def serve(
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 3000,
    auth: Auth = None,
    read_only: ReadOnly = False,
    redact: Redact = None,
    allowed_host: AllowedHost = None,
    cors_origin: CorsOrigin = None,
    callback_hmac_secret: Secret = None,
    strict_signatures: Strict = False,
    workers: Workers = 1,
    cache_ttl: CacheTtl = 5,
    pool_max: PoolMax = 10,
    pool_min: PoolMin = 2,
    pool_idle_timeout: PoolIdle = 300,
    pool_max_lifetime: PoolLifetime = 1800,
    pool_acquire_timeout: PoolWait = 10,
) -> int:
    """Serve the pages and the REST API.

    Only this machine can reach it, until --host says otherwise, which needs --auth.
    It changes nothing on a standby, or where the database is read-only.
    """
    need_serve("awa serve")
    from awa_cli.redact import read_redactor
    from awa_cli.web.settings import Settings
    from awa_lib.db.pool import PoolLimits

    settings = Settings(
        pool=PoolLimits(
            pool_max, min(pool_min, pool_max), pool_idle_timeout, pool_max_lifetime,
            pool_acquire_timeout,
        ),
        cache_seconds=cache_ttl,
        read_only=read_only or os.environ.get("AWA_READ_ONLY", "").lower() in _TRUE,
        secret=read_secret(callback_hmac_secret),
        strict=strict_signatures,
        access=_access(auth, host),
        hosts=frozenset(name.lower() for name in allowed_host or ()),
        origins=_origins(cors_origin or []),
        redactor=read_redactor(redact),
    )  # fmt: skip
    if workers > 1 and "AWA_SERVE_PART" not in os.environ:
        return _supervise(ctx, host, port, workers)
    return run(ctx, settings, host, port)


def read_secret(text: str | None) -> bytes | None:
    """Return the key of callback signatures.  Raises InvalidInput, without the secret."""
    from awa_lib.callbacks.signatures import secret_key
    from awa_lib.errors import InvalidInput

    if not text:
        return None
    try:
        return secret_key(text.strip())
    except InvalidInput as error:
        raise InvalidInput(
            f"invalid callback HMAC secret: {error}", hint="make one: openssl rand -hex 32"
        ) from None


def _access(path: Path | None, host: str) -> Any:
    """Read who may come in.  Raises InvalidInput where nothing says so and strangers could."""
    from awa_cli.web.access_file import AccessFile
    from awa_cli.web.origins import is_loopback
    from awa_lib.errors import InvalidInput

    if path is not None:
        return AccessFile(path)
    if not is_loopback(host):
        raise InvalidInput(
            f"{host} can be reached by others, and nothing says who may come in",
            why="beyond this machine everybody would be let in",
            hint="awa access user NAME --file access.toml; then add --auth access.toml",
        )
    return None


def _origins(urls: list[str]) -> frozenset[str]:
    from urllib.parse import urlsplit

    from awa_lib.errors import InvalidInput

    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or url != f"{parts.scheme}://{parts.netloc}":
            raise InvalidInput(
                f"--cors-origin {url!r} is not an origin",
                hint="write it like --cors-origin https://app.example.org",
            )
    return frozenset(urls)


def run(
    ctx: typer.Context, settings: Settings, host: str, port: int, *, callbacks: str | None = None
) -> int:
    """Serve until a signal; ``callbacks`` is the path below which they alone are served."""
    from awa_cli.database.session import served
    from awa_cli.database.target import find_target
    from awa_cli.terminal.output import say
    from awa_cli.web.app import callback_app, create_app
    from awa_cli.web.health import readiness
    from awa_cli.web.server import bind
    from awa_cli.web.server import serve as serve_on
    from awa_cli.worker.logs import set_up
    from awa_cli.worker.supervised import stop_with_parent

    target = find_target(common(ctx))
    part = os.environ.get("AWA_SERVE_PART")
    set_up(verbose=common(ctx).verbose)
    stop_with_parent()
    with served(target) as url:
        full = target.full_url if url == target.url else url
        if callbacks is None:
            application = create_app(full, settings)
        else:
            application = callback_app(full, settings, prefix=callbacks)
        # The port that the parent holds; it may have been asked for any.
        sock = bind(host, port if part is None else int(part), shared=part is not None)
        if part is None:
            say(f"database: {target.title(color=False)}")
            _announce(f"AWA UI listening on {_address(sock)}{_mode(settings)}")
        state = application.state
        serve_on(application, sock, before_end=state.hub.close, ready=lambda: readiness(state.awa))
    return 0


def _announce(text: str) -> None:
    """Say it at once, also to a pipe: who started the server waits for it."""
    import sys

    from awa_cli.terminal.output import result

    result(text)
    sys.stdout.flush()


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _mode(settings: Settings) -> str:
    return " (forced read-only)" if settings.read_only else ""


def _supervise(ctx: typer.Context, host: str, port: int, workers: int) -> int:
    """Run this command line in several processes, which share the port."""
    import sys

    from awa_cli.database.target import find_target
    from awa_cli.web.server import bind
    from awa_cli.worker.supervisor import Supervisor, child_argv

    target = find_target(common(ctx))
    # Bound alone first, so that a port in use is noticed; held, so that port 0 stays the same.
    bind(host, port).close()
    sock = bind(host, port, shared=True, listening=False)
    os.environ["DATABASE_URL"] = target.full_url
    os.environ["AWA_SERVE_PART"] = str(sock.getsockname()[1])
    _announce(f"AWA UI listening on {_address(sock)}")
    return Supervisor(child_argv(sys.argv[1:]), workers).run()
