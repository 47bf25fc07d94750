"""The queues that are compared, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Peer:
    """One queue: what to install, its driver, and how to count its ended jobs."""

    name: str
    driver: str
    done: str
    requirements: tuple[str, ...] = ()
    concurrency: int = 200
    environment: dict[str, str] = field(default_factory=dict)
    # Slow queues get fewer jobs, or a run would take minutes.
    drain_jobs: int | None = None
    bulk_jobs: int | None = None

    @property
    def python(self) -> str:
        """The interpreter that runs the driver."""
        return str(environment_of(self) / "bin" / "python") if self.requirements else sys.executable

    def install(self) -> None:
        """Create the environment, if it does not exist."""
        folder = environment_of(self)
        if not self.requirements or (folder / "ready").exists():
            return
        print(f"installing {self.name}: {' '.join(self.requirements)}", file=sys.stderr)
        venv.create(folder, with_pip=True, symlinks=True, clear=True)
        subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "--quiet",
             "--disable-pip-version-check", "uvloop", *self.requirements],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        (folder / "ready").touch()


def environment_of(peer: Peer) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    version = f"py{sys.version_info[0]}{sys.version_info[1]}"
    label = "-".join(peer.requirements).replace("==", "-").replace("[", "-").replace("]", "")
    return Path(base) / "awa-toolkit" / "bench" / f"{label}-{version}"


_AWA6 = (
    "SELECT coalesce((SELECT sum(completed_count) FROM awa.receipt_completion_batches), 0)"
    " + (SELECT count(*) FROM awa.done_entries)"
    " + coalesce((SELECT sum(pruned_completed_count) FROM awa.queue_terminal_rollups), 0)"
)
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "awa", "ours.py",
            "SELECT count(*) FROM awa.jobs_hot WHERE state = 'completed'",
        ),
        Peer(
            "awa-pg-0.5", "awa_pg.py",
            "SELECT count(*) FROM awa.jobs_hot WHERE state = 'completed'",
            ("awa-pg==0.5.7",), environment={"AWA_POLL_MS": "5"},
        ),
        Peer(
            "awa-pg-0.6", "awa_pg.py", _AWA6, ("awa-pg==0.6.9",),
            environment={"AWA_POLL_MS": "20", "AWA_QUEUE_STORAGE": "1"},
        ),
        Peer(
            "pgqueuer", "pgqueuer_driver.py",
            "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'",
            ("pgqueuer==1.6.0", "asyncpg", "psycopg[binary]"),
        ),
        Peer(
            "chancy", "chancy_driver.py",
            "SELECT count(*) FROM chancy_jobs WHERE state = 'succeeded'",
            ("chancy==0.26.0", "psycopg[binary]"), bulk_jobs=20_000,
        ),
        Peer(
            "procrastinate", "procrastinate_driver.py",
            "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
            ("procrastinate==3.10.0", "psycopg[binary]"), concurrency=32, drain_jobs=4_000,
            bulk_jobs=20_000,
        ),
    )
}  # fmt: skip

# The statements of awa without awa: what the layout of its tables allows.
BARE = {
    name: replace(PEERS["awa"], name=name, driver="bare.py", environment=environment)
    for name, environment in {
        "bare statements": {},
        "bare INSERT … VALUES": {"BENCH_VALUES": "1"},
    }.items()
}

# awa with features on; --peers names them.
_OURS = PEERS["awa"]
VARIANTS = {
    name: replace(_OURS, name=name, environment=environment)
    for name, environment in {
        "awa-max-running": {"BENCH_POLICY": '{"max_running": 1000}'},
        "awa-per-key": {"BENCH_POLICY": '{"max_running_per_key": 20}', "BENCH_KEYS": "100"},
        "awa-metrics": {"BENCH_OTEL": "metrics"},
        "awa-traces": {"BENCH_OTEL": "metrics,traces"},
    }.items()
}
