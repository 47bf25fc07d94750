"""Render the templates, and answer the forms and buttons of pages."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import HTMLResponse, RedirectResponse, Response

from awa_cli.version import version
from awa_cli.views.actions import ACTIONS
from awa_cli.views.states import state_label
from awa_cli.views.tracebacks import read_trace
from awa_cli.views.trees import grow
from awa_cli.views.words import age, clean, counted, now, say_seconds, span, waiting_of
from awa_cli.web.origins import COOKIE, is_csrf, new_csrf
from awa_cli.web.pages._badges import badges, badges_data
from awa_cli.web.pages._hints import linked
from awa_cli.web.pages._static import stamp
from awa_cli.web.pages.navigation import NAVIGATION
from awa_cli.web.path_names import step
from awa_cli.web.query_string import read_params
from awa_cli.web.scope import PATH, identity_of, root_of
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.types import Scope

    from awa_cli.web.problems import Refused
    from awa_cli.web.state import State

__all__ = ["act", "at", "error_page", "fields", "read", "redirect", "render", "report"]

# Of a time in a part, whose words a script keeps up to date.
_TIME_WORDS: Final = re.compile(r"(<time[^>]*>)[^<]*")
_TEMPLATES: Final = Path(__file__).parents[1] / "templates"


@cache
def _environment() -> Environment:
    # 50 ms, which a server that only serves the API need not spend.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        age=age,
        span=span,
        took=say_seconds,
        cell=clean,
        waiting_of=waiting_of,
        counted=counted,
        quoted=_quoted,
        step=step,
        css=_css,
        utc=_utc,
        json=_json,
        trace=read_trace,
        moment=_moment,
        day=_day,
        label=state_label,
        linked=linked,
        grow=grow,
        fingerprint=_fingerprint,
    )
    environment.tests["moment"] = lambda value: isinstance(value, datetime)
    environment.globals.update(ACTIONS=ACTIONS, NAVIGATION=NAVIGATION, version=version(), now=now)
    return environment


def _quoted(text: object) -> str:
    """Return a value, quoted for a query string."""
    return quote(str(text), safe="")


def _css(style: str) -> str:
    """Return the CSS classes of a column's style, such as ``bold red``."""
    return " ".join(f"c-{word}" for word in style.split())


def _json(value: object) -> str:
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def _moment(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _fingerprint(value: object) -> str:
    text = json.dumps(value, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _utc(moment: datetime) -> str:
    """Return a timestamp in UTC; a script replaces it by the viewer's time zone."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _day(moment: datetime) -> str:
    """Return the date of a moment, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def at(*parts: object) -> str:
    """Return the path of a page: ``at("queues", name)``; templates prepend ``root``."""
    return "/" + "/".join(map(step, parts))


def _here(scope: Scope) -> str:
    """Return the address of a request, without the root."""
    # Not request.url: it drops line ends, and takes a "?" in a name for the query.
    here = quote(scope[PATH], safe="/!$&'()*+,;=:@")
    if here.startswith("//"):  # would name another host
        here = f"/%2F{here[2:]}"
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{here}?{query}" if query else here


async def render(
    request: Request, template: str, status: int = 200, *, part: str | None = None, **context: Any
) -> Response:
    """Render a page, or only the template ``part`` if htmx requests an update.

    An update of what the browser shows already is answered 304, without a body.
    Every template has ``root`` (the prefix of each path), ``path``, ``here`` (the address without
    the root), ``csrf``, ``who`` (the identity), ``badges``, ``read_only`` and
    ``static('app.css')``.
    """
    updates = part is not None and _wants_part(request)
    known = await badges(request)
    token = request.cookies.get(COOKIE, "")
    fresh = not is_csrf(token)
    if fresh:
        token = new_csrf()
    text = _text(
        part if part is not None and updates else template,
        request.scope,
        csrf=token,
        badges=known,
        who=identity_of(request.scope),
        read_only=await _read_only(request),
        **context,
    )
    headers = {"Cache-Control": "no-store", "Vary": "HX-Request"}
    same = False
    if updates:
        headers |= {"HX-Trigger": json.dumps({"badges": badges_data(known)}), "ETag": _tag(text)}
        same = request.headers.get("If-None-Match") == headers["ETag"]
    response = Response(None, 304, headers) if same else HTMLResponse(text, status, headers)
    if fresh:
        response.set_cookie(
            COOKIE,
            token,
            path=root_of(request.scope) or "/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return response


def _text(template: str, scope: Scope, **context: Any) -> str:
    root = root_of(scope)
    return (
        _environment()
        .get_template(template)
        .render(
            root=root,
            path=scope[PATH],
            here=_here(scope),
            static=lambda name: f"{root}/static/{name}?v={stamp(name)}",
            **context,
        )
    )


def _tag(text: str) -> str:
    """Return the ETag of a part: it stays while nothing but ages changes."""
    text = _TIME_WORDS.sub(r"\1", text)
    return f'W/"{hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()}"'


def _wants_part(request: Request) -> bool:
    headers = request.headers
    return "HX-Request" in headers and "HX-History-Restore-Request" not in headers


def error_page(scope: Scope, refused: Refused, phrase: str) -> Response:
    """Render a problem, without the database, which may be the cause."""
    try:
        who = identity_of(scope)
    except KeyError:
        who = None
    text = _text(
        "error.html",
        scope,
        csrf="",
        badges={},
        who=who,
        read_only=False,
        problem=refused,
        phrase=phrase,
    )
    return HTMLResponse(text, refused.status, {"Cache-Control": "no-store", **refused.headers})


async def _read_only(request: Request) -> bool:
    """Return whether buttons must be disabled; also if the database cannot say."""
    state: State = request.app.state.awa
    try:
        return not identity_of(request.scope).may_operate or await state.read_only()
    except AwaError:
        return True


async def read(request: Request, op: Any, *, cached: Hashable = None) -> Any:
    """Run a read for a page, and hide the values that must not be shown.

    ``cached`` is a name under which the answer is cached.
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
    """Return the fields of a submitted form without the empty fields.  Raises InvalidInput."""
    text = (await request.body()).decode("utf-8", "replace")
    return read_params(text, "the form")


async def act(
    request: Request, op: Any, action_id: str, target: object, *, go: str | None = None
) -> Response:
    """Run the operation of an API endpoint for a button; then the page updates itself.

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
        return Response(status_code=204, headers={"HX-Redirect": root_of(request.scope) + go})
    return report(ACTIONS[action_id].done.format(target=target))


def report(text: str, *, to: str | None = None) -> Response:
    """Answer a button: the page shows the text and updates itself.

    ``to`` is the path of a page with details.
    """
    # json.dumps writes ASCII, as headers must be.
    events = json.dumps({"notice": {"text": clean(text), "to": to}, "changed": True})
    return Response(status_code=204, headers={"HX-Trigger": events})


def redirect(request: Request, to: str) -> Response:
    """Lead a browser to the page at this path."""
    return RedirectResponse(root_of(request.scope) + to, 303)
