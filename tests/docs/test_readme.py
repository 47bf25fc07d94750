"""The programs of the README run as they are printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
from fix_wait import eventually

README = Path(__file__).parents[2] / "README.md"
PROGRAM = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.S)


def test_its_programs_run(database_url: str, tmp_path: Path) -> None:
    programs = PROGRAM.findall(README.read_text(encoding="utf-8"))
    assert [name for name, _ in programs] == ["worker.py", "shop.py"]
    for name, text in programs:
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}
    worker = subprocess.Popen(
        [sys.executable, "-m", "awa_cli", "worker", "worker:client"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
    )
    try:
        shop = subprocess.run(
            [sys.executable, "shop.py"],
            cwd=tmp_path,
            env=environment,
            timeout=60,
            capture_output=True,
            text=True,
        )
        assert shop.returncode == 0, shop.stderr
        with psycopg.connect(database_url, autocommit=True) as conn:
            assert conn.execute("SELECT item FROM orders").fetchall() == [("tea",)]
            eventually(
                lambda: (
                    conn.execute("SELECT queue, state::text FROM awa.jobs").fetchall()
                    == [("email", "completed")]
                ),
                30,
            )
    finally:
        worker.send_signal(signal.SIGTERM)
        said, _ = worker.communicate(timeout=30)
    assert said == b"to ada@example.com\n"
    assert worker.returncode == 0
