"""Plugins and the environment; fixtures live in the fix_*.py files."""

from __future__ import annotations

import os

# A developer's own settings must not reach the tests, which would work on his database.
for _name in list(os.environ):
    if _name == "DATABASE_URL" or _name.startswith(("AWA_", "PG")):
        del os.environ[_name]

pytest_plugins = [
    "fix_db",
    "fix_embedded",
    "fix_wait",
    "fix_interop",
    "fix_clients",
    "fix_cli",
    "fix_worker",
]
