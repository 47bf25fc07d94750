"""The entry point of the web server: all that commands import of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awa_cli.web.access_file import AccessFile
from awa_cli.web.prefix import read_callback_path, read_prefix
from awa_cli.web.server import bind
from awa_cli.web.server import serve as _serve
from awa_cli.web.settings import Settings

if TYPE_CHECKING:
    import socket

__all__ = [
    "AccessFile",
    "Settings",
    "application",
    "bind",
    "read_callback_path",
    "read_prefix",
    "serve",
]


def application(url: str, settings: Settings, *, callbacks: str | None = None) -> Any:
    """Return the ASGI application; with ``callbacks``, only callbacks, below that path.

    It connects at its first request.
    """
    from awa_cli.web.app import callback_app, create_app

    if callbacks is None:
        return create_app(url, settings)
    return callback_app(url, settings, prefix=callbacks)


def serve(application: Any, sock: socket.socket) -> None:
    """Serve an application on a socket until a signal."""
    from awa_cli.web.health import readiness

    state = application.state
    _serve(application, sock, before_end=state.hub.close, ready=lambda: readiness(state.awa))
