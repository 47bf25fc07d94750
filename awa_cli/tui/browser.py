"""Serve the monitor to a browser on this machine with textual-serve (extra ``browser``)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["serve_browser"]

_HOST: Final = "127.0.0.1"
_CONTENT_SECURITY_POLICY: Final = (
    "style-src 'self' 'unsafe-inline'; default-src 'self'; connect-src 'self' ws:"
)


def serve_browser(
    arguments: Sequence[str], port: int, label: str, say: Callable[[str], None]
) -> None:
    """Serve ``awa tui ARGUMENTS`` on the loopback interface until Ctrl-C, a process for each tab.

    Anybody who can open the port can change the queue, so requests with another host name or from
    web pages of other sites are refused.  Raises InvalidInput if the extra is not installed.
    """
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise InvalidInput(
            "cannot serve the monitor to a browser",
            why="textual-serve is not installed",
            hint='install it: pip install "awa-toolkit[browser]"',
        ) from None

    origins = {f"http://{name}:{port}" for name in (_HOST, "localhost")}
    hosts = {f"{name}:{port}" for name in (_HOST, "localhost")}

    @web.middleware
    async def guard(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        origin = request.headers.get("Origin")
        if request.host not in hosts or (origin is not None and origin not in origins):
            raise web.HTTPForbidden(text="only the monitor's own web page may connect")
        if request.path == "/ws" and origin is None:
            raise web.HTTPForbidden(text="only a browser may connect")
        response = await handler(request)
        if not response.prepared:
            response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
        return response

    class Loopback(Server):
        async def _make_app(self) -> Any:
            made = await super()._make_app()
            made.middlewares.append(guard)
            return made

        async def on_startup(self, _app: Any) -> None:
            say(f"awa tui of {label}: {self.public_url}\nCtrl-C ends")

        def initialize_logging(self) -> None:
            """Configure no log output: ``on_startup`` prints the address."""

    command = shlex.join([sys.executable, "-m", "awa_cli", "tui", *arguments])
    templates = Path(__file__).parent / "templates"
    server = Loopback(command, host=_HOST, port=port, title="awa tui", templates_path=templates)
    server.serve()
