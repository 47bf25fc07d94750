"""From a template to an answer: what every page knows, and the token its changes carry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from awa_cli.main import version
from awa_cli.terminal.output import age, clean, counted, now, span
from awa_cli.views.actions import ACTIONS
from awa_cli.views.states import state_sign
from awa_cli.views.tracebacks import read_trace
from awa_cli.web.guard import identity_of
from awa_cli.web.origins import COOKIE, is_csrf, new_csrf
from awa_cli.web.pages._static import stamp
from awa_cli.web.pages.navigation import PLACES
from awa_cli.web.path_names import step
from awa_cli.web.problems import PATH
from awa_cli.web.query_string import read_params
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.types import Scope

    from awa_cli.web.problems import Refused
    from awa_cli.web.state import State

__all__ = ["act", "at", "error_page", "fields", "read", "render", "root_of", "told"]

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"


@cache
def _environment() -> Environment:
    # 50 ms, which a server that only answers programs need not pay.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        age=age, span=span, cell=clean, counted=counted, part=_part, step=step, css=_css, utc=_utc,
        sign=state_sign, json=_json, trace=read_trace, moment=_moment,
        numbered=_numbered,
    )  # fmt: skip
    environment.tests["moment"] = lambda value: isinstance(value, datetime)
    environment.globals.update(ACTIONS=ACTIONS, PLACES=PLACES, version=version(), now=now)
    return environment


def _part(text: object) -> str:
    """Write a value of a query."""
    return quote(str(text), safe="")


def _css(style: str) -> str:
    """Return the classes of a column's style, as of ``bold red``."""
    return " ".join(f"c-{word}" for word in style.split())


def _json(value: object) -> str:
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def _moment(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _numbered(items: Sequence[Any]) -> list[tuple[int, Any]]:
    return list(enumerate(items))


def _utc(moment: datetime) -> str:
    """Write a moment for who has no JavaScript, which would write it in the viewer's zone."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def at(*parts: object) -> str:
    """Return the path of a page: ``at("queues", name)``; templates put ``root`` before it."""
    return "/" + "/".join(map(step, parts))


async def render(
    request: Request, template: str, status: int = 200, *, part: str | None = None, **context: Any
) -> Response:
    """Answer with a page; with the template ``part`` instead where htmx asks for what changed.

    Every template knows ``root`` (what stands before each path), ``path``, ``here`` (the address
    without the root), ``csrf``, ``who`` (the identity), ``read_only`` and ``static('app.css')``.
    """
    if part is not None and _wants_part(request):
        template = part
    root = root_of(request)
    # Not of request.url, which drops line ends and takes "?" in a name for a query.
    path = request.scope["path"].removeprefix(root)
    here = quote(path, safe="/!$&'()*+,;=:@")
    if query := request.scope["query_string"].decode("latin-1"):
        here += f"?{query}"
    token = request.cookies.get(COOKIE, "")
    fresh = not is_csrf(token)
    if fresh:
        token = new_csrf()
    text = _text(
        template, root, path, here=here, csrf=token, who=identity_of(request.scope),
        read_only=await _read_only(request), **context,
    )  # fmt: skip
    response = HTMLResponse(text, status, {"Cache-Control": "no-store", "Vary": "HX-Request"})
    if fresh:
        response.set_cookie(
            COOKIE, token, path=root or "/", httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
    return response


def _text(template: str, root: str, path: str, **context: Any) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            root=root,
            path=path,
            static=lambda name: f"{root}/static/{name}?v={stamp(name)}",
            **context,
        )
    )


def _wants_part(request: Request) -> bool:
    headers = request.headers
    return "HX-Request" in headers and "HX-History-Restore-Request" not in headers


def error_page(scope: Scope, refused: Refused, phrase: str) -> Response:
    """Answer with what went wrong; the database is not asked, for it may be what is wrong."""
    try:
        who = identity_of(scope)
    except KeyError:
        who = None
    text = _text(
        "error.html", scope["path"].removesuffix(scope[PATH]), scope[PATH],
        here=scope[PATH], csrf="", who=who, read_only=False, problem=refused, phrase=phrase,
    )  # fmt: skip
    return HTMLResponse(text, refused.status, {"Cache-Control": "no-store", **refused.headers})


async def _read_only(request: Request) -> bool:
    """Return whether buttons must be off; unknown counts as yes."""
    state: State = request.app.state.awa
    try:
        return not identity_of(request.scope).may_operate or await state.read_only()
    except AwaError:
        return True


async def read(request: Request, op: Any, *, cached: Hashable = None) -> Any:
    """Run a read for a page, with what must not be seen hidden.

    With a name in ``cached`` all who look within the time of the cache get the same answer.
    """
    state: State = request.app.state.awa
    if cached is None:
        result = await state.run(op)
    else:
        result = await state.cache.get(("page", cached), lambda: state.run(op))
    redactor = state.settings.redactor
    if redactor is None:
        return result
    hide: Callable[[Any], Any] = redactor.row
    if isinstance(result, tuple):
        return tuple(_hidden(one, hide) for one in result)
    return _hidden(result, hide)


def _hidden(value: Any, hide: Callable[[Any], Any]) -> Any:
    return [hide(one) for one in value] if isinstance(value, list) else hide(value)


async def fields(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form that was sent, the empty ones left out.  Raises InvalidInput."""
    text = (await request.body()).decode("utf-8", "replace")
    return read_params(text, "the form")


async def act(
    request: Request, op: Any, action_id: str, target: object, *, go: str | None = None
) -> Response:
    """Run the operation of an API endpoint for a page's button; then the page reads anew.

    With ``go`` the browser goes to that page instead.  Raises Refused and AwaError, which the
    page shows.
    """
    state: State = request.app.state.awa
    await state.require_operate(identity_of(request.scope))
    try:
        await state.run(op)
    finally:
        state.cache.clear()
    if go is not None:
        return Response(status_code=204, headers={"HX-Redirect": root_of(request) + go})
    return told(ACTIONS[action_id].done.format(target=target))


def told(text: str, *, to: str | None = None) -> Response:
    """Answer to a button that something was done: the page says so and reads anew.

    ``to`` is the path of a page that shows more.
    """
    # Headers are ASCII, and so is this JSON.
    events = json.dumps({"said": {"text": clean(text), "to": to}, "changed": True})
    return Response(status_code=204, headers={"HX-Trigger": events})


def root_of(request: Request) -> str:
    """Return what stands before each path."""
    return str(request.scope.get("root_path", ""))
