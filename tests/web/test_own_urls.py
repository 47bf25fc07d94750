"""No URL of this server is written without its place: in templates, scripts and answers.

Templates write ``{{ root }}`` before a path, scripts ``${root}`` or ``base``, and Python leads a
browser elsewhere in ``render.py`` alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "awa_cli" / "web"
TEMPLATES = sorted((WEB / "templates").rglob("*.html"))
SCRIPTS = sorted((WEB / "static").glob("*.js"))
STYLES = sorted((WEB / "static").glob("*.css"))
MODULES = sorted(WEB.rglob("*.py"))

# Attributes whose value is a URL, in HTML, SVG and htmx.
_URLS = (
    "href|xlink:href|src|srcset|action|formaction|poster|cite|data|manifest|ping|"
    "hx-(?:get|post|put|patch|delete|push-url|replace-url)|sse-connect"
)
URL = re.compile(rf"""\s({_URLS})=(?:"([^"]*)"|'([^']*)'|(\S+))""")
# Its place, a static file, or the same page with another query or a part of it.
PLACED = re.compile(r"\{\{ root \}\}(/|\{\{ |$)|\{\{ static\(|[#?]")
# Addresses that workers declare, which templates show if they start with http:// or https://.
AWAY = {"{{ away }}", "{{ value }}"}
# What begins a path in a script: a text that starts with a single slash.
PATH = re.compile(r"""["'`](/(?:[A-Za-z0-9_$][^"'`]*)?)["'`]""")
# What leads a browser elsewhere.
LEADS = re.compile(r"location\.(?:assign|replace)|window\.open|location(?:\.href)? = ([^;]+)")
ANSWERS = re.compile(
    r"RedirectResponse\(|HX-(?:Redirect|Location|Push-Url|Replace-Url)|[\"']Location"
)


def unplaced(text: str) -> list[str]:
    """Return the URLs of a template that lack the place."""
    # Quotes within an expression end no attribute, and its arguments are none.
    plain = re.sub(r"\{\{.*?\}\}", lambda found: re.sub('["=]', "~", found[0]), text)
    values = [a or b or c for _, a, b, c in URL.findall(plain)]
    return [one for one in values if not PLACED.match(one) and one not in AWAY]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_write_their_place_before_each_path(path: Path) -> None:
    assert unplaced(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_write_no_path_from_the_root(path: Path) -> None:
    text = re.sub(r"^\s*//.*$", "", path.read_text(encoding="utf-8"), flags=re.M)
    # The key "/" is no path.
    assert [one for one in PATH.findall(text) if one != "/"] == []
    assert [one for one in LEADS.findall(text) if one != "entry.href"] == []


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_styles_name_only_their_neighbours(path: Path) -> None:
    assert re.findall(r"url\(\s*[\"']?/|@import", path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_one_module_leads_browsers_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert path.name == "render.py" or ANSWERS.findall(text) == []


def test_an_url_without_its_place_would_be_found() -> None:
    wrong = [
        '<a class="x" href="/jobs">',
        "<a href='/jobs'>",
        "<a href=/jobs>",
        '<form action="{{ listing.path }}">',
        '<button hx-post="{{ url }}/x">',
        '<div sse-connect="/api/events">',
        '<a href="{{ at("jobs") }}">',
        '<a href="{{ root }}jobs">',
        '<script src="app.js">',
    ]
    right = ['<a href="{{ root }}/jobs">', '<a href="{{ root }}{{ to }}">', '<a href="#main">',
             """<script src="{{ static('app.js') }}">""", '<a href="{{ root }}{{ f("x") }}">']  # fmt: skip

    assert [one for one in wrong if not unplaced(one)] == []
    assert [one for one in right if unplaced(one)] == []
    assert PATH.findall("fetch('/api/stats'); `/jobs/${id}`; \"/\"; 'a/b'; `${root}/jobs`") == [
        "/api/stats",
        "/jobs/${id}",
        "/",
    ]
    assert LEADS.findall('location.href = "/x"; location = to;') == ['"/x"', "to"]
    assert ANSWERS.findall('RedirectResponse(url); {"HX-Redirect": to, "Location": to}')
