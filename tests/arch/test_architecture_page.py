"""The architecture page names every room, and no room that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def rooms() -> set[str]:
    """Return the folders of both packages that hold modules, as paths with a slash at the end."""
    return {
        f"{path.parent.relative_to(ROOT)}/"
        for package in ("awa_lib", "awa_cli")
        for path in (ROOT / package).rglob("*.py")
        if path.parent.parent != ROOT
    }


def test_the_table_and_the_folders_agree() -> None:
    named = set(re.findall(r"^\| `(awa_(?:lib|cli)/[\w/]+/)` \|", PAGE, re.M))

    assert named == rooms()


def test_every_file_it_names_exists() -> None:
    named = set(re.findall(r"`((?:awa_lib|awa_cli|tests|docs|\.ci)/[\w/.-]+)`", PAGE))

    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_it_names_the_loose_modules() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("Loose modules"))
    named = set(re.findall(r"[\w]+", line.partition(": ")[2]))
    loose = {path.stem for path in (ROOT / "awa_lib").glob("*.py") if path.stem[0] != "_"}

    assert named == loose
