"""``awa serve``: web pages, REST API, callbacks, health checks and metrics over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.commands._extras import need_serve
from awa_cli.commands._server import (
    Host,
    PoolIdle,
    PoolLifetime,
    PoolMax,
    PoolMin,
    PoolWait,
    Port,
    Secret,
    Strict,
    TrustedProxy,
    Verify,
    address_of,
    announce,
    env_flag,
    pool_limits,
    read_proxies,
    read_signing,
    run,
)
from awa_cli.invocation import common
from awa_cli.parser.options import LogFormat, LogFormatOption, Redact

if TYPE_CHECKING:
    from awa_cli.web.launch import Settings

__all__ = ["app"]

app = typer.Typer()

Auth = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", envvar="AWA_AUTH", help="Access file with users and tokens; see awa access."
    ),
]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Refuse all changes.  [env var: AWA_READ_ONLY]")
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Host name of this server; may be repeated."),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="Origin whose pages may use the API; may be repeated."),
]
PathPrefix = Annotated[
    str,
    typer.Option(
        metavar="PATH",
        envvar="AWA_PATH_PREFIX",
        show_default=False,
        help="URL path below which a proxy serves this server, like /awa.",
    ),
]
Workers = Annotated[
    int, typer.Option(metavar="N", min=1, help="Number of processes that share the port.")
]
CacheTtl = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, envvar="AWA_CACHE_TTL", help="Maximum age of cached answers."
    ),
]


@app.command(
    epilog="""
    awa serve
    awa serve --context production --read-only
    awa serve --host 0.0.0.0 --auth access.toml --allowed-host jobs.example.org
    awa serve --path-prefix /awa --trusted-proxy localhost
    awa serve --redact 'password|token|secret'
    """
)
def serve(
    ctx: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = 3000,
    auth: Auth = None,
    read_only: ReadOnly = False,
    redact: Redact = None,
    allowed_host: AllowedHost = None,
    cors_origin: CorsOrigin = None,
    path_prefix: PathPrefix = "",
    trusted_proxy: TrustedProxy = None,
    callback_hmac_secret: Secret = None,
    strict_signatures: Strict = False,
    verify: Verify = None,
    workers: Workers = 1,
    cache_ttl: CacheTtl = 5,
    pool_max: PoolMax = 10,
    pool_min: PoolMin = 2,
    pool_idle_timeout: PoolIdle = 300,
    pool_max_lifetime: PoolLifetime = 1800,
    pool_acquire_timeout: PoolWait = 10,
    log_format: LogFormatOption = LogFormat.text,  # noqa: ARG001 - its callback has acted on it
) -> int:
    """Serve the web pages and the REST API.

    By default only this machine can connect.  To listen on another address, --auth is required.
    The server makes no changes if the database is a standby or read-only.
    """
    need_serve("awa serve")
    from awa_cli.redact import read_redactor
    from awa_cli.web.launch import Settings, read_prefix

    settings = Settings(
        pool=pool_limits(
            pool_max, pool_min, pool_idle_timeout, pool_max_lifetime, pool_acquire_timeout
        ),
        cache_seconds=cache_ttl,
        read_only=read_only or env_flag("AWA_READ_ONLY"),
        **read_signing(callback_hmac_secret, verify, strict=strict_signatures),
        access=_access(auth, host),
        hosts=_hosts(allowed_host or []),
        origins=_origins(cors_origin or []),
        path_prefix=read_prefix(path_prefix, "--path-prefix"),
        trusted_proxies=read_proxies(trusted_proxy),
        redactor=read_redactor(redact),
    )
    if workers > 1 and "AWA_SERVE_PART" not in os.environ:
        return _supervise(ctx, settings, host, port, workers)
    return run(ctx, settings, host, port)


def _access(path: Path | None, host: str) -> Any:
    """Return the access file.  Raises InvalidInput if there is none and others can connect."""
    from awa_cli.addresses import is_loopback
    from awa_cli.web.launch import AccessFile
    from awa_lib.errors import InvalidInput

    if path is not None:
        return AccessFile(path)
    if not is_loopback(host):
        raise InvalidInput(
            f"--host {host} needs --auth",
            why="other machines can connect to this address, and everybody would have access",
            hint="awa access user NAME --file access.toml; then add --auth access.toml",
        )
    return None


def _hosts(names: list[str]) -> frozenset[str]:
    from awa_cli.addresses import bracketed, parse_host
    from awa_lib.errors import InvalidInput

    for name in names:
        host = parse_host(bracketed(name))
        if name != "*" and (host is None or host.port is not None):
            raise InvalidInput(
                f"--allowed-host {name!r} is not a host name",
                why="it is a name or an address, without a scheme, a port or a path",
                hint="write it like --allowed-host jobs.example.org",
            )
    return frozenset(names)


def _origins(urls: list[str]) -> frozenset[str]:
    """Return the origins as browsers write them: in lower case, without the default port."""
    from awa_cli.addresses import parse_origin
    from awa_lib.errors import InvalidInput

    origins = set()
    for url in urls:
        found = parse_origin(url)
        if found is None:
            raise InvalidInput(
                f"--cors-origin {url!r} is not an origin",
                hint="write it like --cors-origin https://app.example.org",
            )
        scheme, host = found
        origins.add(host.origin(scheme))
    return frozenset(origins)


def _supervise(ctx: typer.Context, settings: Settings, host: str, port: int, workers: int) -> int:
    """Run this command line in several processes that share the port."""
    import sys

    from awa_cli.database.target import find_target
    from awa_cli.web.launch import bind
    from awa_cli.worker.supervisor import Supervisor, child_argv

    target = find_target(common(ctx))
    # Bind without sharing first, to detect a port in use; keep the socket, so that port 0 stays.
    bind(host, port).close()
    sock = bind(host, port, shared=True, listening=False)
    os.environ["DATABASE_URL"] = target.full_url
    os.environ["AWA_SERVE_PART"] = str(sock.getsockname()[1])
    announce(f"AWA UI listening on {address_of(sock)}{settings.path_prefix}")
    return Supervisor(child_argv(sys.argv[1:]), workers).run()
