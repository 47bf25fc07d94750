"""The examples of the guides run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"


@pytest.mark.parametrize("name", ["dead-letters", "bulk-operations"])
def test_example_runs(name: str, database_url: str, monkeypatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    text = (GUIDES / f"{name}.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    assert examples
    for example in examples:
        exec(compile(example, f"{name}.md", "exec"), {})
