"""``.ci/audit``: which known vulnerabilities fail the checks."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

PLACE = Path(__file__).resolve().parents[2] / ".ci" / "audit"


@pytest.fixture
def step(monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader = SourceFileLoader("audit_step", str(PLACE))
    module = module_from_spec(spec_from_loader("audit_step", loader))
    loader.exec_module(module)
    return module


def package(name: str, *fixes: list[str]) -> dict:
    vulns = [{"id": f"X-{number}", "fix_versions": one} for number, one in enumerate(fixes)]
    return {"name": name, "version": "1", "vulns": vulns}


def test_what_the_package_needs_and_could_be_updated_fails(step) -> None:
    ours = {"psycopg"}
    for found, fails in (
        ([package("psycopg")], False),
        ([package("psycopg", ["2"])], True),
        ([package("psycopg", [])], False),
        ([package("pytest", ["2"])], False),
        ([package("pytest", ["2"]), package("psycopg", [], ["3"])], True),
    ):
        lines, failed = step.judge({"dependencies": found}, ours)
        assert failed == fails
        assert sum("X-" in line for line in lines) == sum(len(one["vulns"]) for one in found)
        assert "NOT AUDITED" not in "".join(lines)


def test_what_could_not_be_looked_up_is_said_and_does_not_fail(step) -> None:
    lines, failed = step.judge({"dependencies": [{"name": "psycopg", "skip_reason": "x"}]}, set())

    assert not failed
    assert lines[-1].startswith("NOT AUDITED")
    assert lines[0] == "0 of 1 packages were looked up"


def test_the_needed_packages_are_found_by_their_requirements(step) -> None:
    found = step.needed()

    assert {"psycopg", "psycopg-binary", "starlette", "h11", "awa-toolkit"} <= found
    assert not {"pytest", "hypothesis", "sphinx"} & found
