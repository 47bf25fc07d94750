"""``awa demo``: its table against a count made here, a second run, Ctrl-C at any moment."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from fix_wait import eventually
from jsonschema import Draft202012Validator

from awa_cli.demo.tables import restore_path, store_path
from awa_lib.embedded import acquire


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with duplicates, odd names, links and an empty file."""
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "site-packages").mkdir()
    for number in range(120):
        (root / "deep" / f"m{number}.py").write_text(f"x = {number % 50}\n" * (number + 1))
    (root / "same.txt").write_text("same\n")
    (root / "deep" / "same.md").write_text("same\n")
    (root / "deep" / "er" / "large.bin").write_bytes(b"\n" * 300_000)
    (root / "empty").touch()
    (root / "new\nline \\x41.c").write_text("int x;")
    (root / os.fsdecode(b"not-utf8-\xff.h")).write_text("1\n2\n")
    (root / "link").symlink_to(root / "same.txt")
    (root / "site-packages" / "left_out.py").write_text("no\n")
    return root


SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "schemas" / "demo.json"


def count(root: Path) -> dict:
    """Count what the demo should find."""
    files = [
        Path(folder) / name
        for folder, _, names in os.walk(root)
        for name in names
        if "site-packages" not in folder and not (Path(folder) / name).is_symlink()
    ]
    data = [path.read_bytes() for path in files]
    same = Counter(hashlib.sha256(block).digest() for block in data if block)
    copies = [n for n in same.values() if n > 1]
    return {
        "files": len(files),
        "bytes": sum(map(len, data)),
        "lines": sum(block.count(b"\n") for block in data),
        "duplicates": {"groups": len(copies), "extra": sum(copies) - len(copies)},
        "largest": max(map(len, data)),
    }


def start(url: str, tree: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "awa_cli", "--database-url", url, "demo", str(tree), "-o", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def run(url: str, tree: Path) -> dict:
    process = start(url, tree)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return json.loads(out)


def test_the_table_is_true_and_a_second_run_is_fine(scratch: Path, tree: Path) -> None:
    url = f"embedded:{scratch / 'demo'}"
    for _ in range(2):
        told = run(url, tree)
        expected = count(tree)

        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(told)
        assert {k: told["files"][k] for k in ("files", "bytes", "lines")} == {
            k: expected[k] for k in ("files", "bytes", "lines")
        }
        assert told["files"]["unreadable"] == 0
        assert told["duplicates"] == expected["duplicates"]
        assert told["largest"]["bytes"] == expected["largest"]
        assert told["jobs"]["jobs"] == told["jobs"]["completed"] == expected["files"] + 3
        assert told["jobs"]["failed"] == 0
        assert told["jobs"]["retried"] >= 1
        assert told["jobs"]["rescued"] >= 1
        assert told["survey"]["attempts"] == 2
        assert told["survey"]["files"] == expected["files"]
        assert 40 <= told["survey"]["resumed_at_percent"] <= 80
        assert 0 <= told["announce"]["late_seconds"] < 5


def test_ctrl_c_leaves_nothing_broken(scratch: Path, tree: Path) -> None:
    """Each interrupted run begins where the one before was stopped; the last one is not stopped.

    The server that outlives the demo shows that no worker does.
    """
    data = scratch / "demo-interrupted"
    with acquire(data) as server:

        def workers() -> int:
            with psycopg.connect(server.url, autocommit=True) as conn:
                return conn.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'awa%%'"
                ).fetchone()[0]

        def rescued() -> bool:
            with psycopg.connect(server.url, autocommit=True) as conn:
                return bool(
                    conn.execute(
                        "SELECT 1 FROM awa.jobs WHERE errors[1] ->> 'error' LIKE 'heartbeat stale%%'"
                    ).fetchone()
                )

        for after in ("start", "tables", "kill"):
            process = start(f"embedded:{data}", tree)
            if after == "tables":
                eventually(lambda: workers() > 2, timeout=30)
            elif after == "kill":
                eventually(lambda: workers() > 2 and rescued(), timeout=30)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
            eventually(lambda: workers() == 0, timeout=30)

            # Before Python has set itself up, the signal ends it in ways that are not ours.
            early = process.returncode == -signal.SIGINT or "init_import_site" in err
            if after != "start" or not early:
                assert (process.returncode, out) == (130, ""), (after, err)
                assert "Traceback" not in err
        told = run(f"embedded:{data}", tree)
    assert told["files"]["files"] == count(tree)["files"]


def test_a_path_that_is_not_there(process) -> None:
    ran = process("demo", "/no/such/folder")

    assert ran.status == 2
    assert "'/no/such/folder' does not exist" in ran.err


def test_one_file_is_a_tree_too(scratch: Path, tree: Path) -> None:
    told = run(f"embedded:{scratch / 'demo'}", tree / "same.txt")

    assert (told["files"]["files"], told["files"]["bytes"]) == (1, 5)


@pytest.mark.parametrize(
    "raw", [b"plain", b"back\\slash", b"odd\xff\xfe", b"\\xff", "é\n".encode(), b"\\\\"]
)
def test_names_survive_the_database(raw: bytes) -> None:
    name = os.fsdecode(raw)

    assert restore_path(store_path(name)) == name
    store_path(name).encode()
