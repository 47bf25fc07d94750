"""Long lists: all rows come, in memory that does not grow with their number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from fix_cli import argv, environment

FILL = """
    INSERT INTO awa.jobs_hot (kind, queue, args)
    SELECT 'k' || i %% 7, 'q', jsonb_build_object('n', i, 'pad', repeat('x', 200))
    FROM generate_series(1, %s::int) AS i"""


# A process counts the memory of the one that forked it as its own, so a small one must fork it.
SMALL = """
import resource, subprocess, sys
read = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
written = 0
while block := read.stdout.read(1 << 16):
    written += len(block)
print(read.wait(), written, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(url: str, *line: object) -> tuple[int, int]:
    """Run a command; return the bytes it wrote and its largest resident set, in kibibytes."""
    done = subprocess.run(
        [sys.executable, "-c", SMALL, *argv(*line)], env=environment(url), capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    status, written, kibibytes = map(int, done.stdout.split())
    assert status == 0
    return written, kibibytes


@pytest.mark.parametrize(
    ("form", "few", "many"), [("ndjson", 3_000, 30_000), ("json", 2_000, 8_000),
                              ("csv", 2_000, 8_000), ("ids", 2_000, 8_000),
                              ("template={args.pad}", 2_000, 8_000), ("yaml", 1_000, 2_500)],
)  # fmt: skip
def test_memory_does_not_grow_with_the_rows(database_url, db, form, few, many) -> None:
    db.execute(FILL, [many])
    line = ["job", "list", "--all", "-o", form]
    less, small = peak(database_url, *line, "--before-id", few + 1)
    more, large = peak(database_url, *line)

    assert more > less * many / few * 0.9
    # One row held is about 4 KiB.
    assert large - small < 4_096
    assert large < 60 * 1024


def test_every_row_comes_once_while_others_are_written(database_url, db) -> None:
    db.execute(FILL, [5_000])
    running = subprocess.Popen(
        argv("job", "list", "--all", "-o", "ndjson"), env=environment(database_url),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    first = json.loads(running.stdout.readline())["id"]
    with psycopg.connect(database_url) as other:
        other.execute(FILL, [1_000])
        other.execute("DELETE FROM awa.jobs_hot WHERE id = %s", [first])
    ids = [first, *[json.loads(line)["id"] for line in running.stdout]]
    running.stdout.close()

    assert running.wait(timeout=20) == 0
    assert ids == list(range(5_000, 0, -1))


def into(target: str, line: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its standard output sent there by the shell."""
    return subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m awa_cli {line} {target}"],
        capture_output=True, text=True, timeout=30, env=environment(url),
    )  # fmt: skip


@pytest.mark.parametrize("line", ["job list", "version", "--help", "job list -o ids"])
def test_a_closed_output_is_no_fault(database_url, add, line) -> None:
    add("failed")
    done = into(">&-", line, database_url)
    assert done.returncode == 0
    assert "fault" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("line", ["job list", "--help", "job list --all -o ndjson"])
def test_a_full_disk_is_told(database_url, add, line) -> None:
    add("failed")
    done = into(">/dev/full", line, database_url)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: cannot write the output",
        "  why: no space left on device",
        "   do: free some space, or write elsewhere",
    ]
