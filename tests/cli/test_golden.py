"""What each command prints is kept in golden files: help, for people, and as data.

``pytest tests/cli/test_golden.py --update-golden`` writes them anew; look at the difference.
"""

from __future__ import annotations

import pytest
from fix_cli import LEAVES, TREE, forms
from golden_cases import CASES
from golden_runs import GOLDEN, Line, at_a_terminal, in_a_pipe


@pytest.fixture
def golden(request):
    """Compare a text with its file, or write the file."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.exists(), f"{path} is missing: pytest tests/cli/test_golden.py --update-golden"
        assert text == path.read_bytes().decode()

    return check


@pytest.mark.parametrize("path", TREE, ids=lambda path: " ".join(("awa", *path)))
def test_help(offline, monkeypatch, golden, path) -> None:
    shown = []
    for columns in (80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown.append(f"# {columns} columns\n\n{offline(*path, '--help').out}")

    golden("help/" + "-".join(("awa", *path)), "\n".join(shown))


@pytest.mark.parametrize("name", CASES)
def test_output(place, terminals, monkeypatch, capsys, golden, name) -> None:
    case = CASES[name]
    here = None if case.changes else place()
    shown = []

    def show(text: str, *runs) -> None:
        nonlocal here
        for title, run in runs:
            here = place() if case.changes else here
            out = run(Line(text), here)
            assert [line for line in out.splitlines() if line != line.rstrip()] == []
            if shown and title and shown[-1].partition("\n")[2] == "\n" + out:
                head = shown.pop().partition("\n")[0]
                shown.append(f"{head} and {title}\n\n{out}")
            else:
                shown.append(f"$ awa {text}{'  # at ' * bool(title)}{title}\n\n{out}")

    for text in case.lines:
        if Line(text).piped:
            show(text, ("", lambda line, at: in_a_pipe(line, at, monkeypatch, capsys)[0]))
        else:
            show(
                text,
                *[
                    (
                        f"{columns} columns",
                        lambda line, at, c=columns: at_a_terminal(line, at, terminals, c),
                    )
                    for columns in (80, 200)
                ],
            )
    for form in forms(name):
        show(
            f"{case.data} -o {form}",
            ("", lambda line, at: in_a_pipe(line, at, monkeypatch, capsys)[0]),
        )

    golden(name.replace(" ", "-"), "\n".join(shown))


def test_every_command_has_golden_files_and_none_is_left_over() -> None:
    help_files = {"-".join(("awa", *path)) for path in TREE}
    assert {path.stem for path in (GOLDEN / "help").glob("*")} == help_files
    assert set(CASES) == set(LEAVES), "add a line to tests/cli/golden_cases.py"
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {one.replace(" ", "-") for one in LEAVES}
