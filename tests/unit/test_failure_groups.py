"""Groups of failures: stable, bounded, and without what was quoted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awa_lib.telemetry.failures import (
    FRAMES,
    MESSAGE_LENGTH,
    Group,
    group_of,
    group_of_text,
    normalised,
    own_frames,
)

# Texts of what the rule looks at, which any letters would seldom hit.
PIECES = st.lists(
    st.sampled_from(
        ["'", '"', "`", "\\", "\u201c", "\u201d", "\u00ab", "@", "://", "http://", ":", "::", ".",
         "-", "_", "x", "b'", "ff", "deadbeef", "17", "3.5", " ", "\n", "<n>", "'...'", "<email>",
         "\x00", "\ud800", "don't", "a.b@c.de", "10.0.0.1", "fe80::1", "\u0663"]
    )
).map("".join)  # fmt: skip
TEXTS = st.text() | PIECES


@given(TEXTS)
@example("'" * 300)
@example("a" * 2_000)
@example(" ".join(["'"] * 300))
def test_a_message_is_normalised_once_and_for_all(text: str) -> None:
    once = normalised(text)

    assert normalised(once) == once
    assert len(once) <= MESSAGE_LENGTH
    assert "\x00" not in once
    once.encode()


@pytest.mark.parametrize(
    "text",
    [
        "'",
        "\\",
        "@",
        ":",
        "a::",
        "f",
        "1",
        "-1",
        "'a",
        '"\\',
        "http",
        "a+",
        "://",
        "ab:",
        ".a",
        "a@",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """A backtracking pattern would take minutes."""
    began = time.process_time()

    normalised(text * 100_000)

    assert time.process_time() - began < 1


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=12), st.sampled_from("'\"`"))
def test_what_is_quoted_does_not_show(secret: str, quote: str) -> None:
    for text in (
        f"login of {quote}{secret}{quote} failed",
        f"login={quote}{secret}{quote}",
        f"don't use {quote}{secret}{quote}",
        f"broken {quote}{secret}",
        f"can't see b{quote}{secret}{quote}, isn't it",
        f"{'x' * 985} {quote}{secret}{quote}",
    ):
        assert secret not in normalised(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail server 10.0.0.1:25 is down", "mail server <n>:<n> is down"),
        ("to bob@example.org: refused", "to <email> refused"),
        ("order ORD-17 of deadbeefcafe", "order ORD-<n> of <n>"),
        ("GET https://user:pw@a.example/x?y=1 failed", "GET <url> failed"),
        ("job 4f1c2d3e-0000-4000-8000-00000000beef lost", "job <n> lost"),
        ("fe80::1:2:3 unreachable", "<n> unreachable"),
        ("don't find 'x' in \u201cy\u201d", "don't find '...' in '...'"),
        ("took 3.5e-7 s\n  at once", "took <n> s at once"),
        ("std::vector::at", "std::vector::at"),
        ("", ""),
    ],
)
def test_what_differs_from_job_to_job_is_replaced(text: str, expected: str) -> None:
    assert normalised(text) == expected


@given(TEXTS, TEXTS)
def test_a_group_fits_its_columns(error_type: str, text: str) -> None:
    for group in (Group.build(error_type, text, ("a.py f",)), group_of_text(text)):
        assert len(group.id) == 12
        assert len(group.error_type) <= 200


def test_groups_differ_by_type_message_and_frames() -> None:
    ids = {
        Group.build("A", "down", ("a.py f",)).id,
        Group.build("B", "down", ("a.py f",)).id,
        Group.build("A", "up", ("a.py f",)).id,
        Group.build("A", "down", ("a.py g",)).id,
        Group.build("A", "down").id,
    }

    assert len(ids) == 5
    assert Group.build("A", "job 1").id == Group.build("A", "job 2").id


PROGRAM = """
import json, pathlib, sys
from awa_lib.telemetry.failures import group_of
{padding}
def inner(n):
    json.loads("{{" * n)
def handler(n):
    inner(n) if n % 2 else deeper(n)
def deeper(n):
    return deeper(n - 1) if n > 1 else inner(1)
groups = []
for n in (1, 3, 6, 400):
    try:
        handler(n)
    except ValueError as error:
        groups.append(group_of(error, "json.JSONDecodeError", str(error)))
print(json.dumps([[one.id, list(one.frames)] for one in groups]))
"""


def ran(folder: Path, padding: str, seed: str) -> list[tuple[str, list[str]]]:
    folder.mkdir(parents=True)
    (folder / "shop.py").write_text(PROGRAM.format(padding=padding))
    done = subprocess.run(
        [sys.executable, "-c", "import shop"],
        cwd=folder, check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed},
    )  # fmt: skip
    return [(one, frames) for one, frames in json.loads(done.stdout)]


def test_ids_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Whatever the folder, the line, the hash seed and the depth of a recursion."""
    first = ran(tmp_path / "one", "", "1")
    other = ran(tmp_path / "two" / "release-7", "# a line\n" * 20, "2")
    installed = ran(tmp_path / "site-packages", "", "3")

    assert first == other == installed
    (short, frames), again, (deep, through), deeper = first
    assert frames == ["shop.py <module>", "shop.py handler", "shop.py inner"]
    assert through == [*frames[:2], "shop.py deeper", "shop.py inner"]
    assert (short, deep) == (again[0], deeper[0])
    assert short != deep


def test_frames_are_bounded_and_raise_nothing() -> None:
    source = "\n".join(f"def f{n}(): f{n - 1}()" for n in range(1, 40)) + "\ndef f0(): 1 / 0\n"
    names: dict[str, object] = {"__name__": "app.jobs"}
    exec(compile(source, "/srv/app/jobs.py", "exec"), names)
    try:
        names["f39"]()  # type: ignore[operator]
    except ZeroDivisionError as error:
        frames = own_frames(error.__traceback__)
        group = group_of(error, "ZeroDivisionError", str(error))

    assert len(frames) == FRAMES
    assert frames[-1] == "app/jobs.py f0"
    assert group.frames == frames
    assert own_frames(None) == ()
