"""The models in formal/ name code that exists, and the page lists their guards and twins."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORMAL = ROOT / "formal"
MODELS = sorted(FORMAL.glob("*.pml"))
PAGES = "\n".join(path.read_text() for path in sorted(FORMAL.glob("*.md")))
SCHEMA = "\n".join(path.read_text() for path in sorted(ROOT.glob("sql/migrations/*/*.sql")))
GUARD = re.compile(r"^ \*  guard (\w+):((?:.|\n \*   )*)", re.MULTILINE)
# awa_lib/ops/leases.py:new_lease, claims.sql:claim_kind, claim_kinds, awa.sync_job_unique_claims
PLACES = re.compile(r"([\w/.]+\.(?:py|sql)):(\w+(?:,\s+\w+\b(?![./:]))*)")
OBJECT = re.compile(r"\b(?:awa\.|idx_)\w+")


def guards(model: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the guards of a model, and the places that each names: a file and a name in it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for guard, text in GUARD.findall(model.read_text().replace("\n *      ", " ")):
        places = found.setdefault(guard, [])
        for file, names in PLACES.findall(text):
            places += [(file, name) for name in re.split(r",\s+", names)]
        places += [("schema", name) for name in OBJECT.findall(text)]
    return found


def exists(file: str, name: str) -> bool:
    """Return True when a module has a name, an SQL file a block or function, the schema an object."""
    if file == "schema":
        return re.search(rf"\b{re.escape(name)}\b", SCHEMA) is not None
    if file.endswith(".py"):
        path = ROOT / file
        return path.exists() and re.search(rf"\b{name}\b", path.read_text()) is not None
    found = [path for path in ROOT.glob("sql/**/*.sql") if path.name == file]
    block = rf"^-- name: {name}$|FUNCTION awa\.{name}\("
    return any(re.search(block, path.read_text(), re.MULTILINE) for path in found)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FORMAL))
    return importlib.import_module("check")


def test_the_checker_reads_every_model(check: ModuleType) -> None:
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
    twins = dict(re.findall(r"^//! twin: NO_(\w+) breaks (\w+ \w+)$", text, re.M))
    _, *rest = re.split(rf"^##+ {model.stem}(?:\.pml)?$", PAGES, flags=re.MULTILINE)
    section = "".join(rest).partition("\n##")[0]
    listed = set(re.findall(r"`(\w+)`", section))

    assert switches == set(twins) == set(guards(model))
    assert switches - listed == set()
    for guard, property_ in re.findall(
        r"^\| `(\w+)` \|.*\| `(\w+ \w+)` \|$", section, re.MULTILINE
    ):
        assert (guard, property_) == (guard, twins[guard])


COUNT = """
//! check: assert high - n stays low
//! check: assert negative - n is not negative
//! twin: NO_BOUND breaks assert high
int n;
bool high, negative;
active proctype P() {
    do
#ifndef NO_BOUND
    :: n < 3 -> n++
    :: n == 3 -> break
#else
    :: n < 4 -> n++
    :: n == 4 -> break
#endif
    od;
    atomic { high = (n > 3); negative = (n < 0); assert(!high); assert(!negative) }
}
ltl ends { <> (n == 9) }
"""
WRONG = {
    "a property": ("n > 3", "n > 2", "asserts: broken"),
    "a liveness": (
        "//! twin",
        "//! check: ltl ends - n gets to its end\n//! twin",
        "ltl ends: broken",
    ),
    "a twin that holds": ("n > 3", "n > 4", "does not break"),
    "another property": ("(n > 3); negative = (n < 0)", "(n > 9); negative = (n > 3)", "else than"),
    "a search that ends": ("", "", "not complete"),
}


@pytest.mark.skipif(not (shutil.which("spin") and shutil.which("gcc")), reason="needs spin and gcc")
@pytest.mark.parametrize("what", ["nothing", *WRONG])
def test_what_is_wrong_is_found(
    check: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    old, new, message = WRONG.get(what, ("", "", "NO_BOUND breaks assert high"))
    monkeypatch.setattr(check, "OPTIMIZE", "-O0")
    if what == "a search that ends":
        monkeypatch.setattr(check, "DEPTH", 3)
    path = tmp_path / "count.pml"
    path.write_text(COUNT.replace(old, new))

    wrong = check.check(tmp_path, [check.read(path)], larger=False)

    assert message in capsys.readouterr().out
    assert (wrong > 0) == (what != "nothing")


def test_a_missing_place_would_be_found() -> None:
    assert exists("awa_lib/ops/leases.py", "new_lease")
    assert exists("claims.sql", "claim_kind")
    assert exists("0014_claim_leases.sql", "claim_limited")
    assert not exists("awa_lib/ops/claims.py", "old_lease")
    assert not exists("awa_lib/ops/nothing.py", "new_lease")
    assert not exists("claims.sql", "claim_any")
    assert exists("schema", "awa.claim_limited")
    assert not exists("schema", "awa.claim_unlimited")
