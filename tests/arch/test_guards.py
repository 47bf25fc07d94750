"""formal/guards.toml has a removal for each guard of each model; formal/remove.py tells its end."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORMAL = ROOT / "formal"
TWIN = re.compile(r"^//! twin: NO_(\w+) ", re.MULTILINE)


@pytest.fixture
def remove(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FORMAL))
    return importlib.import_module("remove")


def test_each_guard_of_each_model_has_a_removal(remove: ModuleType) -> None:
    guards = {
        f"{path.stem}.{guard}"
        for path in FORMAL.glob("*.pml")
        for guard in TWIN.findall(path.read_text())
    }
    removals = remove.read()

    assert {each.name for each in removals} == guards
    assert [each.name for each in removals if not each.edits and not each.note] == []
    assert len([each for each in removals if each.quick]) >= 8


def test_what_is_removed_is_there_once(remove: ModuleType) -> None:
    for removal in remove.read():
        texts = {edit.path: (ROOT / edit.path).read_text() for edit in removal.edits}
        for edit in removal.edits:
            changed = edit.change(texts[edit.path])
            assert changed != texts[edit.path], removal.name
            texts[edit.path] = changed


def test_a_text_that_is_not_there_or_twice_is_refused(remove: ModuleType) -> None:
    text = "-- name: one\nSELECT 1\n-- name: two\nSELECT 1, 1"
    place = "claims.sql:"
    assert remove.Edit(place + "one", "SELECT 1", "X").change(text) == text.replace(
        "SELECT 1\n", "X\n"
    )
    for block, old in (("one", "1, 1"), ("two", "1"), ("three", "SELECT")):
        with pytest.raises(ValueError, match="there"):
            remove.Edit(place + block, old, "").change(text)


def test_the_tests_exist(remove: ModuleType, request: pytest.FixtureRequest) -> None:
    """A run of all tests has collected them; others collect those that they have not."""
    ids = {item.nodeid for item in request.session.items}
    ids |= {one.partition("[")[0] for one in ids}
    tests = sorted({each.test for each in remove.read() if each.test} - ids)
    if not tests:
        return
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_is_written_from_the_data(remove: ModuleType) -> None:
    assert remove.PAGE.read_text() == remove.table(remove.read()), (
        "run: python formal/remove.py --table"
    )


@pytest.mark.parametrize(
    ("failures", "raises", "end"),
    [
        (["assert 1 == 2\nmore"], None, "assert 1 == 2"),
        (["AssertionError: no"], None, "AssertionError: no"),
        (["Failed: Timeout (>60.0s) from pytest-timeout."], None, "Failed: Timeout"),
        (["awa_lib.errors.JobNotFound: 7"], "JobNotFound", "awa_lib.errors.JobNotFound: 7"),
        ([], None, None),
        (["NameError: name 'x' is not defined"], None, None),
        (["error: assert in a fixture"], None, None),
        (["skipped: assert nothing"], None, None),
        (["assert 1 == 2"], "JobNotFound", None),
    ],
)
def test_only_an_assertion_or_a_bound_counts(
    remove: ModuleType, failures: list[str], raises: str | None, end: str | None
) -> None:
    removal = remove.Removal("m", "G", "assert g", raises=raises)
    if end is None:
        with pytest.raises(remove.Survived):
            remove.judge(removal, failures)
    else:
        assert remove.judge(removal, failures).startswith(end)
