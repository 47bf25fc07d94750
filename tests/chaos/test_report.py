"""The page of what was measured: a command replaces its own section and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import report

SECTION = "<!-- measured: {0} -->\n\nold\n\n<!-- end of {0} -->\n"


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Words\n\n{SECTION.format('one')}\nmore\n\n{SECTION.format('two')}")
    for lines in (["first"], ["| a |", r"\1 again"]):
        report.write("one", lines, page)

    assert page.read_text() == (
        "# Words\n\n<!-- measured: one -->\n\n| a |\n\\1 again\n\n<!-- end of one -->\n"
        f"\nmore\n\n{SECTION.format('two')}"
    )


def test_a_section_without_its_markers_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(SECTION.format("one"))

    with pytest.raises(ValueError, match="needs the lines '<!-- measured: two -->'"):
        report.write("two", ["x"], page)
