"""``awa callbacks``: a server that only receives callbacks."""

from __future__ import annotations

from typing import Annotated

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
    env_flag,
    pool_limits,
    read_proxies,
    read_signing,
    run,
)
from awa_cli.parser.options import LogFormat, LogFormatOption

__all__ = ["app"]

app = typer.Typer(
    help="Receive callbacks over HTTP.",
    epilog="awa callbacks serve --host 0.0.0.0",
)


PathPrefix = Annotated[
    str,
    typer.Option(
        metavar="PATH", envvar="AWA_CALLBACK_PATH_PREFIX", help="URL path of the callbacks."
    ),
]
AllowUnsigned = Annotated[
    bool,
    typer.Option(
        "--allow-unsigned",
        help="Accept callbacks without a signature.  [env var: AWA_CALLBACK_ALLOW_UNSIGNED]",
    ),
]


@app.callback()
def callbacks() -> None:
    """Receive callbacks over HTTP."""


@app.command(
    epilog="""
    awa callbacks serve --host 0.0.0.0
    awa callbacks serve --path-prefix /hooks --strict-signatures
    awa callbacks serve --host 0.0.0.0 --verify myapp.hooks:check
    """
)
def serve(
    ctx: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = 4000,
    path_prefix: PathPrefix = "/api/callbacks",
    trusted_proxy: TrustedProxy = None,
    callback_hmac_secret: Secret = None,
    strict_signatures: Strict = False,
    verify: Verify = None,
    allow_unsigned: AllowUnsigned = False,
    pool_max: PoolMax = 10,
    pool_min: PoolMin = 2,
    pool_idle_timeout: PoolIdle = 300,
    pool_max_lifetime: PoolLifetime = 1800,
    pool_acquire_timeout: PoolWait = 10,
    log_format: LogFormatOption = LogFormat.text,  # noqa: ARG001 - its callback has acted on it
) -> int:
    """Serve callbacks only, without pages and API.

    The secret that the workers sign with is required, or a function that checks raw callbacks.
    With --allow-unsigned, a server that has neither accepts all callbacks.
    """
    need_serve("awa callbacks serve")
    from awa_cli.web.launch import Settings, read_callback_path
    from awa_lib.errors import InvalidInput

    signing = read_signing(callback_hmac_secret, verify, strict=strict_signatures)
    unsigned = allow_unsigned or env_flag("AWA_CALLBACK_ALLOW_UNSIGNED")
    if signing["secret"] is None and signing["verify"] is None and not unsigned:
        raise InvalidInput(
            "no callback secret was given",
            why="without signatures, anybody who knows the id of a callback can end its job",
            hint="set AWA_CALLBACK_HMAC_SECRET (openssl rand -hex 32), name a function with "
            "--verify, or add --allow-unsigned",
        )
    settings = Settings(
        pool=pool_limits(
            pool_max, pool_min, pool_idle_timeout, pool_max_lifetime, pool_acquire_timeout
        ),
        **signing,
        hosts=frozenset({"*"}),
        trusted_proxies=read_proxies(trusted_proxy),
    )
    return run(
        ctx, settings, host, port, callbacks=read_callback_path(path_prefix, "--path-prefix")
    )
