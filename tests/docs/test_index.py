"""The index leads to every page, and the glossary has every word of the command."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from awa_cli.parser.tree import app

DOCS = Path(__file__).parents[2] / "docs"
# Commands that are no words of their own: what they do is said where it is done.
PLAIN = {"access", "bench", "demo", "dev", "health", "migrate", "roles", "serve", "tui", "version"}


def glossary() -> list[str]:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^(\w[^\n]*)\n  ", text.split("{glossary}\n")[1], re.M)


def test_each_guide_is_named_where_somebody_looks_for_it() -> None:
    said = (DOCS / "index.md").read_text(encoding="utf-8").split("```{toctree}")[0]
    # Two pages that a table of the reference leads to.
    guides = {one.stem for one in DOCS.glob("guides/*.md")} - {"api", "completion", "embedded"}

    assert guides - set(re.findall(r"\(guides/([\w-]+)\.md\)", said)) == set()


def test_the_glossary_is_in_order() -> None:
    assert glossary() == sorted(glossary(), key=str.lower)


def test_the_glossary_has_each_word_of_the_command() -> None:
    commands = set(get_command(app).list_commands(None))  # type: ignore[arg-type] # it needs none
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = {word.rstrip("s") for word in glossary()}

    assert [
        one for one in sorted(commands - PLAIN)
        if one.rstrip("s") not in words and f"`awa {one}`" not in text
    ] == []  # fmt: skip
