"""The page of what was measured: each command writes its own section of it and leaves the rest."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def write(section: str, lines: Iterable[str], page: Path = PAGE) -> None:
    """Put the lines between the page's markers of the section."""
    text = page.read_text()
    # Each marker is a comment: the page does not show it.
    begin, end = f"<!-- measured: {section} -->", f"<!-- end of {section} -->"
    around = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    if len(around.findall(text)) != 1:
        raise ValueError(f"{page.name} needs the lines {begin!r} and {end!r}, once")
    body = "\n".join(lines).strip()
    page.write_text(around.sub(lambda found: f"{found[1]}\n{body}\n\n{found[2]}", text))


def machine() -> str:
    """Return what the figures were measured on, and when."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processors()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, psycopg {psycopg.__version__}, "
        f"awa {version('awa-toolkit')}"
    )


def _processors() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return f"{os.cpu_count()} cores ({names[0] if names else platform.machine()})"
