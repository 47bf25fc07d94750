"""Pages in a real browser, Debian's chromium: a server of a module's own, a database, a worker.

One browser serves the tests of a module, which must not be async.  Where there is none, they are
skipped with the reason; with CI=true they fail instead.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# The first has the same engine without the windows, and takes half of the processor time.
_BROWSERS = ("chromium-headless-shell", "chromium")
# Nothing of ours may wait for what is outside this machine.
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
_AXE = Path(__file__).parent / "web" / "pages" / "vendor" / "axe.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The browser."""
    from playwright.sync_api import expect, sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        reason = f"there is no chromium: apt-get install {_BROWSERS[0]}, or set CHROMIUM to one"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    # Of a module: while it runs, its loop is this thread's, and async tests cannot be.
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield found
        found.close()


class Site:
    """A server with its database, as a test of pages sees them."""

    def __init__(self, url: str, database_url: str) -> None:
        self.url = url
        self.database_url = database_url


@pytest.fixture(scope="module")
def site(postgres: Any, template: str) -> Iterator[Site]:
    """A server on a migrated database; both are shared by the tests of a module."""
    from fix_web import FRESH, running

    from awa_cli.web import create_app
    from awa_cli.web.settings import Settings

    with postgres.database(template) as database_url:
        # A part is read once 100 ms have gone by without an event, so they are further apart.
        settings = {**FRESH, "cache_seconds": 0.05, "event_seconds": 0.25}
        app = create_app(database_url, Settings(**settings))
        with running(app) as server:
            yield Site(server.url, database_url)


@contextmanager
def working(database_url: str, register: Callable[[Any], None], *queues: Any) -> Iterator[Any]:
    """Run a worker in a thread; ``register`` gives it its handlers."""
    from fix_worker import QUICK

    import awa_lib as awa

    ready, end = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    failed: list[BaseException] = []

    async def work() -> None:
        try:
            async with awa.AsyncClient(database_url) as client:
                register(client)
                await client.start(list(queues) or [("default", 4)], **QUICK)
                ready.set()
                await end.wait()
                await client.shutdown(2000)
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    try:
        assert ready.wait(20)
        if not failed:
            yield loop
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(timeout=20)
        loop.close()
    if failed:
        raise failed[0]


@pytest.fixture(scope="module")
def contexts(browser: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Windows by their options: those of one kind share what they have loaded."""
    made: dict[str, Any] = {}

    def give(**options: Any) -> Any:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = browser.new_context(
                base_url=site.url, viewport=DESKTOP, reduced_motion="reduce",
                timezone_id="Europe/Berlin", locale="en-GB", **options,
            )  # fmt: skip
            made[key].set_default_timeout(30_000)
        return made[key]

    yield give
    for context in made.values():
        context.close()


@pytest.fixture
def visit(contexts: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Open a page: ``visit("/jobs", size="phone", theme="dark")``; faults of scripts fail the test.

    ``before`` is a script that runs first.  Other options are those of a context, as
    ``java_script_enabled=False``.
    """
    pages: list[Any] = []
    faults: list[str] = []

    def go(
        path: str = "/",
        size: str = "desktop",
        theme: str = "light",
        before: str = "",
        **options: Any,
    ) -> Any:
        page = contexts(**options).new_page()
        page.add_init_script(before)
        pages.append(page)
        page.set_viewport_size(PHONE if size == "phone" else DESKTOP)
        page.emulate_media(color_scheme=theme)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: _note(faults, said))
        page.goto(path)
        return page

    yield go
    for page in pages:
        page.evaluate("() => localStorage.clear()")
        page.close()
    assert not faults


# What is part of a test: a refusal, a server that went, a page that was left.
_EXPECTED = re.compile(
    r"[Ss]tatus (of|Error Code) [45]|htmx:(responseError|sendAbort|sendError|sseError|afterRequest)"
)


def _note(faults: list[str], said: Any) -> None:
    if said.type == "error" and not _EXPECTED.search(said.text):
        faults.append(said.text)


def check_access(page: Any) -> None:
    """Find nothing that keeps people from using a page: light at a desk, dark on a phone.

    Colours are those of the theme and layout is that of the width, so two looks show all of both.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_AXE.read_text(encoding="utf-8"))
    for theme, size in (("light", DESKTOP), ("dark", PHONE)):
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size(size)
        _check_look(page, f"{theme}, {size['width']} wide")


def _check_look(page: Any, look: str) -> None:
    # The rest of what it returns takes as long to bring here as to find.
    found = page.evaluate(
        "() => axe.run(document, {resultTypes: ['violations']}).then((all) => all.violations)"
    )
    said = [
        f"{look}: {one['id']} ({one['impact']}): {one['help']}\n    {node['html'][:160]}"
        f"\n    {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"][:3]
    ]
    assert not said, "\n".join(said)
    width = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], f"{look}: the page is wider than its window: {width}"
