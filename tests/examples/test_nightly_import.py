"""The nightly import: killed half-way, gone on with, a failed part mended and retried."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fix_examples import Examples, stop
from fix_wait import eventually
from fix_worker import Rows

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = 200


def test_nightly_import(
    examples: Callable[..., Examples], tmp_path: Path, rows: Rows, database_url: str
) -> None:
    night = examples(EXAMPLES)

    def awa(*words: str) -> Any:
        done = night.run("-m", "awa_cli", "workflow", *words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    for n in range(FILES):
        (tmp_path / f"{n:03}.csv").write_text(f"sensor,value\na,{n}\nb,0.5\n")
    odd = tmp_path / "100.csv"
    odd.unlink()
    os.mkfifo(odd)  # whoever reads it waits: the import stands still before its end
    begin = ("nightly_import.py", "start", str(tmp_path), "2026-11-29")
    said = [night.run(*begin).stdout for _ in range(2)]
    assert said == ["workflow 1 was inserted\n", "workflow 1 is there already\n"]

    first = night.start("nightly_import.py", "work")
    eventually(lambda: rows.states() == {"completed": FILES - 1, "running": 1}, timeout=30)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    odd.unlink()
    odd.write_text("sensor,value\na,none\n")
    second = night.start("nightly_import.py", "work")
    eventually(lambda: awa("list")[0]["state"] == "failed", timeout=60)

    assert (tmp_path / "alert.txt").read_text() == "parts[100] of workflow 1 failed\n"
    assert not (tmp_path / "report.txt").exists()
    failed = rows.one("SELECT errors[2] ->> 'error' AS error FROM awa.jobs WHERE state = 'failed'")
    assert "line 2 holds no number" in failed["error"]

    odd.write_text("sensor,value\na,100\nb,0.5\n")
    awa("retry", "1", "--yes")
    eventually(lambda: awa("list")[0]["state"] == "succeeded", timeout=60)
    stop(second)

    total = sum(range(FILES)) + FILES / 2
    assert (tmp_path / "report.txt").read_text() == f"{2 * FILES} rows, {total} in all\n"
    # The parts that had ended before the kill ran once.
    assert rows.all("SELECT attempt, count(*) AS n FROM awa.jobs GROUP BY 1") == [
        {"attempt": 1, "n": FILES + 3}
    ]
