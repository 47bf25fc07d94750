"""Commands that the pages show exist, with the options that they show."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_cli import built
from test_guides import WRITTEN

EXAMPLES = Path(__file__).parents[2] / "examples"
BLOCK = re.compile(r"^ *```(?:sh|text|ini|dockerfile)?\n(.*?)^ *```$", re.S | re.M)
INLINE = re.compile(r"`awa ([a-z][^`]*)`")
# Words in inline code that stand for any command.
OPEN = {"COMMAND", "…"}


def lines() -> Iterator[tuple[str, str]]:
    for path in [*WRITTEN, *sorted(EXAMPLES.rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            for line in block[1].replace("\\\n", " ").splitlines():
                if line.startswith("CMD ["):
                    yield path.name, shlex.join(json.loads(line[4:])[1:])
                for found in re.finditer(r"(?:^|[|(;&]|\$ |bin/)\s*awa ([^|)&;<>]*)", line):
                    yield path.name, found[1].split(" #")[0].strip()
        for found in INLINE.finditer(text):
            yield path.name, found[1]


def problem(line: str) -> str | None:
    """Return what is wrong with a command line, if anything."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that a pipe has cut
        words = line.split()
    here = built()
    known = {"--help", "-h", *options(here)}
    for place, written in enumerate(words):
        word = written.split("|")[0]  # list|show
        if word in OPEN:
            return None
        if re.match(r"-{1,2}[a-z]", word):
            if word.split("=")[0] not in known:
                return f"{word} is no option of awa {line}"
        elif hasattr(here, "list_commands"):
            found = here.get_command(None, word)
            if found is not None:
                here = found
                known |= options(here)
            elif not (place and words[place - 1].startswith("-")):  # the value of an option
                return f"{word} is no command of awa"
    return None


def options(command: Any) -> set[str]:
    return {one for given in command.params for one in [*given.opts, *given.secondary_opts]}


def test_commands_exist() -> None:
    found = sorted(set(lines()))
    wrong = [(name, line, why) for name, line in found if (why := problem(line))]

    assert wrong == []
    assert len(found) > 200


@pytest.mark.parametrize(
    "line",
    [
        "job lst",
        "job list --stat failed",
        "failure retry 3f --for 7d",
        "jobs",
        "worker x:y --proceses 2",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    assert problem(line) is not None
