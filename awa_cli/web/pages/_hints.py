"""Commands in the texts of errors, as links to the pages that show the same."""

from __future__ import annotations

import re
import shlex
from typing import Final

from awa_cli.web.path_names import step

__all__ = ["linked"]

# The nouns of commands, and their pages.
_PAGES: Final = {
    "job": ("jobs", "job"),
    "queue": ("queues", "queue"),
    "kind": ("kinds", "kind"),
    "cron": ("cron", "schedule"),
    "dlq": ("dlq", "dead letter"),
    "batch": ("batches", "bulk operation"),
    "failure": ("failures", "failure"),
    "workflow": ("workflows", "workflow"),
}
_COMMAND: Final = re.compile(
    rf"awa (?P<noun>{'|'.join(_PAGES)}) (?:(?P<list>list)|show (?P<name>.+))\s*$"
)


def linked(text: str) -> tuple[str, str, str] | None:
    """Split a hint that ends with a command: what is before it, words, and the path of the page.

    None if there is no page for it.  Options of the command are left out.
    """
    found = _COMMAND.search(text)
    if found is None:
        return None
    page, thing = _PAGES[found["noun"]]
    before = text[: found.start()].rstrip()
    if found["list"]:
        return before, f"{thing}s", f"/{page}"
    try:
        (name,) = shlex.split(found["name"])
    except ValueError:
        return None
    return before, f"{thing} {name}", f"/{page}/{step(name)}"
