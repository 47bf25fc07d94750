"""The models in formal/ name code that exists, and the page lists their guards and twins."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORMAL = ROOT / "formal"
MODELS = sorted(FORMAL.glob("*.pml"))
PAGE = (FORMAL / "README.md").read_text()
GUARD = re.compile(r"^ \*  guard (\w+):((?:.|\n \*   )*)", re.M)
# awa_lib/ops/claims.py:new_lease, claims.sql:claim_kind
PLACE = re.compile(r"([\w/.]+\.(?:py|sql)):(\w+)")


def guards(model: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the guards of a model, and the places of the code that each names."""
    return {name: PLACE.findall(text) for name, text in GUARD.findall(model.read_text())}


def exists(file: str, name: str) -> bool:
    """Return True when a Python file has a name, or an SQL file a block or a function."""
    if file.endswith(".py"):
        path = ROOT / file
        return path.exists() and bool(
            re.search(rf"\b{name}\b", path.read_text())
        )
    found = [path for path in ROOT.glob("sql/**/*.sql") if path.name == file]
    block = rf"^-- name: {name}$|FUNCTION awa\.{name}\("
    return any(re.search(block, path.read_text(), re.M) for path in found)


def test_the_checker_reads_every_model() -> None:
    sys.path.insert(0, str(FORMAL))
    try:
        import check
    finally:
        sys.path.remove(str(FORMAL))

    for path in MODELS:
        model = check.read(path)
        assert model.twins
        assert all(isinstance(model.is_liveness(prop), bool) for prop in model.properties)


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_each_guard_names_code_that_exists(model: Path) -> None:
    named = guards(model)

    assert named
    assert [name for name, places in named.items() if not places] == []
    for places in named.values():
        assert [place for place in places if not exists(*place)] == []


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_each_guard_has_a_switch_a_twin_and_a_line_of_the_page(model: Path) -> None:
    text = model.read_text()
    switches = set(re.findall(r"^#ifn?def NO_(\w+)$", text, re.M))
    twins = set(re.findall(r"^//! twin: NO_(\w+) breaks", text, re.M))
    section = PAGE.partition(f"\n### {model.stem}\n")[2].partition("\n### ")[0]
    lines = set(re.findall(r"^\| `(\w+)` \|", section, re.M))

    assert switches == twins == set(guards(model)) == lines


def test_a_missing_place_would_be_found() -> None:
    assert exists("awa_lib/ops/claims.py", "new_lease")
    assert exists("claims.sql", "claim_kind")
    assert exists("0014_claim_leases.sql", "claim_limited")
    assert not exists("awa_lib/ops/claims.py", "old_lease")
    assert not exists("awa_lib/ops/nothing.py", "new_lease")
    assert not exists("claims.sql", "claim_any")
