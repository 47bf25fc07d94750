"""A private PostgreSQL for one benchmark run, with the same settings for every queue."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from awa_lib.embedded import Server, acquire, reset

# Durable, with room for checkpoints; the rest is PostgreSQL's default.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "max_connections": "400",
    "max_wal_size": "4GB",
}


@contextmanager
def private_server(**settings: str) -> Iterator[Server]:
    """Start a server in a directory of its own on disk, and delete it afterwards."""
    base = Path(tempfile.mkdtemp(prefix="awa-bench-"))
    base.chmod(0o711)
    try:
        with acquire(base / "pg", settings=SETTINGS | settings) as server:
            yield server
        reset(base / "pg")
    finally:
        shutil.rmtree(base, ignore_errors=True)


def fresh(server: Server, name: str) -> str:
    """Create an empty database and write all pending data to disk; return its URL."""
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        conn.execute(f'CREATE DATABASE "{name}"')
        conn.execute("CHECKPOINT")
    return server.url_of(name)


def processor() -> str:
    """Return the name of the processor."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def facts(server: Server) -> dict[str, object]:
    """Return the machine and the server of the results."""
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as conn:
        (version,) = conn.execute("SHOW server_version").fetchone()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": os.cpu_count(),
        "cpu": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "awa": importlib.metadata.version("awa-toolkit"),
        "memory_gib": round(memory / 2**30),
        "python": platform.python_version(),
        "postgres": version,
        "settings": SETTINGS,
    }
