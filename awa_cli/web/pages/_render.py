"""From a template to an answer: what every page knows, and the token its changes carry."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import HTMLResponse

from awa_cli.actions import ACTIONS
from awa_cli.main import version
from awa_cli.output import age, clean, counted, span
from awa_cli.web.guard import identity_of
from awa_cli.web.origins import COOKIE, is_csrf, new_csrf
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State

__all__ = ["change", "read", "render"]

_HERE: Final = Path(__file__).parents[1]


@cache
def _environment() -> Environment:
    # 50 ms, which a server that only answers programs need not pay.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(age=age, span=span, cell=clean, counted=counted, part=_part)
    environment.globals.update(ACTIONS=ACTIONS, version=version())
    return environment


def _part(text: object) -> str:
    """Write a name as one part of a path."""
    return quote(str(text), safe="")


@cache
def _stamp(name: str) -> str:
    """Return what makes a browser load a file again after it changed."""
    return hashlib.blake2b((_HERE / "static" / name).read_bytes(), digest_size=6).hexdigest()


async def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Answer with a page, or with a part of one.

    Every template knows ``root`` (what stands before each path), ``csrf``, ``who`` (the identity),
    ``read_only`` and ``static('app.css')``.
    """
    root = request.scope.get("root_path", "")
    token = request.cookies.get(COOKIE, "")
    fresh = not is_csrf(token)
    if fresh:
        token = new_csrf()
    text = (
        _environment()
        .get_template(template)
        .render(
            root=root,
            csrf=token,
            who=identity_of(request.scope),
            read_only=await _read_only(request),
            path=request.url.path.removeprefix(root),
            static=lambda name: f"{root}/static/{name}?v={_stamp(name)}",
            **context,
        )
    )
    response = HTMLResponse(text, status, {"Cache-Control": "no-store"})
    if fresh:
        response.set_cookie(
            COOKIE, token, path=root or "/", httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
    return response


async def _read_only(request: Request) -> bool:
    """Return whether buttons must be off; unknown counts as yes."""
    state: State = request.app.state.awa
    try:
        return not identity_of(request.scope).may_operate or await state.read_only()
    except AwaError:
        return True


async def read(request: Request, op: Any) -> Any:
    """Run a read for a page, with what must not be seen hidden."""
    state: State = request.app.state.awa
    result = await state.run(op)
    redactor = state.settings.redactor
    if redactor is None:
        return result
    return list(redactor.rows(result)) if isinstance(result, list) else redactor.row(result)


async def change(request: Request, op: Any) -> Any:
    """Run the operation of an API endpoint for a page's button.  Raises Refused and AwaError."""
    state: State = request.app.state.awa
    await state.require_operate(identity_of(request.scope))
    try:
        return await state.run(op)
    finally:
        state.cache.clear()
