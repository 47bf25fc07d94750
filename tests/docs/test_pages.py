"""Pages that are read from top to bottom work for somebody who types what they say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fix_examples import Site
from fix_pages import Reader

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["start", "tutorial", "guides/fastapi", "guides/django"]


@pytest.fixture
def reader(place: Path, tmp_path: Path) -> Iterator[Callable[[], Reader]]:
    """Make a reader with an empty folder and, if the page starts it, a local Postgres of his own."""
    made: list[Reader] = []

    def make() -> Reader:
        made.append(Reader(tmp_path, Site().port, place))
        return made[-1]

    yield make
    for one in made:
        one.leave()


# The tutorial types thirty commands, and some wait: a minute, and more on a busy machine.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_is_typed(page: str, reader: Callable[[], Reader]) -> None:
    reader().read(DOCS / f"{page}.md")


WRONG = {
    "a file that does not run": "```python\n# a.py\nimport nothing\n```\n\n```sh\npython a.py\n```\n",
    "a command that does not exist": "```sh\nawa job lst\n```\n",
    "another output": "```sh\necho a\n```\n\nIt prints:\n\n```\nb\n```\n",
    "a worker that ends": "<!-- in another terminal -->\n```sh\nawa worker no:client\n```\n\n"
    "It prints:\n\n```\nstarted\n```\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_page_that_is_wrong_fails(
    text: str, reader: Callable[[], Reader], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")

    with pytest.raises(AssertionError):
        reader().read(page)


def test_what_a_page_prints_may_leave_out_lines_and_parts_of_lines(
    reader: Callable[[], Reader], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nexport X=5\nmkdir sub && cd sub\n```\n\n"
        "```sh\nfor n in 1 2 3 4; do echo line $n of $X; done\n```\n\n"
        "It prints:\n\n```\nline 1 of …\n…\nline 4 of 5\n```\n",
        encoding="utf-8",
    )
    reader().read(page)

    assert (tmp_path / "sub").is_dir()
    assert os.getcwd() != str(tmp_path / "sub")
