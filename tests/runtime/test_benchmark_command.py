"""The report of the benchmarks, from the command to the page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.results import Results

ROOT = Path(__file__).parents[2]


def report(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "report", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_kept_and_its_page_written_again(tmp_path: Path) -> None:
    """Two workers of awa alone, then one beside the bare statements."""
    kept = tmp_path / "results.jsonl"

    told = report(
        "--only", "drain,drain-two", "--jobs", "300", "--reps", "1", "--peers", "awa",
        "--results", str(kept),
    )  # fmt: skip

    head, *lines = [json.loads(text) for text in kept.read_text().splitlines()]
    assert head["command"] == (
        "python -m benchmarks report --only drain,drain-two --jobs 300 --reps 1 --peers awa"
    )
    assert [(line["case"], line["who"], line.get("jobs"), line.get("error")) for line in lines] == [
        ("drain", "awa", 300, None),
        ("drain", "bare statements", 300, None),
        ("drain-two", "awa", 300, None),
    ]
    line = lines[-1]
    for figure in ("jobs_per_second", "wal_bytes", "commits", "worker_cpu_us", "server_cpu_us"):
        assert line[figure] > 0, figure
    # Many jobs share a commit; the looks of the measure are not counted.
    assert line["commits"] < 1
    assert "| Drain, one process | at least 2.3 × pgqueuer |  | not measured |" in told
    again = report("--from", str(kept))
    assert again == told[told.index("| what |") :]
    page = pytest.importorskip("benchmarks.page", exc_type=ImportError)
    text = page.write(Results(Results.lines(kept)), tmp_path).read_text()
    assert f"| **awa** | {line['jobs_per_second']:,} |" in text


def test_workflows_are_measured_beside_plain_jobs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "workflows", "--tasks", "60", "--reps", "1",
         "--only", "fan-out,many small"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    *_, last = [json.loads(text) for text in done.stdout.splitlines()]
    assert {name: one["jobs"] for name, one in last["summary"].items()} == {
        "plain": 60, "fan-out": 60, "many small": 60,
    }  # fmt: skip
    assert last["summary"]["fan-out"]["times_plain"] > 0
