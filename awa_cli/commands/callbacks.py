"""``awa callbacks``: take answers of outside systems over HTTP, at the edge."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from awa_cli.commands._extras import need_serve
from awa_cli.commands.serve import (
    Host,
    PoolIdle,
    PoolLifetime,
    PoolMax,
    PoolMin,
    PoolWait,
    Secret,
    Strict,
    read_secret,
    run,
)

__all__ = ["app"]

app = typer.Typer(
    help="Receive callbacks over HTTP.",
    epilog="awa callbacks serve --host 0.0.0.0",
)

_TRUE: Final = frozenset({"1", "true", "yes", "on"})


@app.callback()
def callbacks() -> None:
    """Receive callbacks over HTTP."""


@app.command(
    epilog="""
    awa callbacks serve --host 0.0.0.0
    awa callbacks serve --path-prefix /hooks --strict-signatures
    """
)
def serve(
    ctx: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port.")] = 4000,
    path_prefix: Annotated[
        str,
        typer.Option(
            metavar="PATH", envvar="AWA_CALLBACK_PATH_PREFIX", help="Path of the callbacks."
        ),
    ] = "/api/callbacks",
    callback_hmac_secret: Secret = None,
    strict_signatures: Strict = False,
    allow_unsigned: Annotated[
        bool,
        typer.Option(
            "--allow-unsigned",
            help="Take callbacks from whoever knows an id.  [env var: AWA_CALLBACK_ALLOW_UNSIGNED]",
        ),
    ] = False,
    pool_max: PoolMax = 10,
    pool_min: PoolMin = 2,
    pool_idle_timeout: PoolIdle = 300,
    pool_max_lifetime: PoolLifetime = 1800,
    pool_acquire_timeout: PoolWait = 10,
) -> int:
    """Take callbacks, and serve nothing else: no pages, no API.

    Needs the secret that the workers sign with, unless --allow-unsigned.
    """
    need_serve("awa callbacks serve")
    from awa_cli.web.settings import Settings
    from awa_lib.db.pool import PoolLimits
    from awa_lib.errors import InvalidInput

    secret = read_secret(callback_hmac_secret)
    told = os.environ.get("AWA_CALLBACK_ALLOW_UNSIGNED", "").lower() in _TRUE
    if secret is None and not (allow_unsigned or told):
        raise InvalidInput(
            "nothing says which callbacks are genuine",
            why="no secret was given, so that whoever learns an id could end its job",
            hint="set AWA_CALLBACK_HMAC_SECRET (openssl rand -hex 32), or add --allow-unsigned",
        )
    if not path_prefix.startswith("/") or path_prefix != path_prefix.rstrip("/"):
        raise InvalidInput(
            f"--path-prefix {path_prefix!r} is not a path", hint="write it like /api/callbacks"
        )
    settings = Settings(
        pool=PoolLimits(
            pool_max,
            min(pool_min, pool_max),
            pool_idle_timeout,
            pool_max_lifetime,
            pool_acquire_timeout,
        ),
        secret=secret,
        strict=strict_signatures,
        hosts=frozenset({"*"}),
    )
    return run(ctx, settings, host, port, callbacks=path_prefix)
