"""Schemathesis in full: every phase and check, with links, on rows in every state.  By hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from web.every_row import fill

from awa_cli.access import Access, hash_token

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("API_EXAMPLES", "50")
SECONDS = os.environ.get("API_SECONDS", "900")
ACCESS = Access(tokens={hash_token("op"): ("op", "operate"), hash_token("rd"): ("rd", "read")})
MODES = {
    "open": ({}, []),
    "token": ({"access": ACCESS}, ["-H", "Authorization:Bearer op"]),
    "reader": ({"access": ACCESS}, ["-H", "Authorization:Bearer rd"]),
    "read-only": ({"read_only": True}, []),
}


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("mode", MODES)
def test_every_check_holds(server, database_url, mode, record_property) -> None:
    fill(database_url)
    settings, words = MODES[mode]
    running = server(**settings)
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/api/openapi.json",
         "--checks", "all", "--max-time", SECONDS, "--max-examples", EXAMPLES, "--generation-allow-x00", "false",
         # The events never end; test_web_events follows them.
         "--exclude-path", "/api/events", "--continue-on-failure", "--request-timeout", "30",
         "--no-color", "--suppress-health-check", "all", "--generation-database", "none", *words],
        env={**os.environ, "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"},
        capture_output=True, text=True, check=False, cwd=HERE,
    )  # fmt: skip
    if found := re.search(r"([\d,]+) generated.*", run.stdout):
        record_property("cases", found[0])
    assert run.returncode == 0, run.stdout + run.stderr
