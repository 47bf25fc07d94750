"""An incident, played: the mail provider is down, and 2,000 receipts fail.

    DATABASE_URL=embedded: python incident.py            # on a local Postgres of its own
    DATABASE_URL=postgresql:///shop python incident.py --orders 200 --pause

The program starts the provider and a worker, stops the provider, and places the orders.  Then it
runs the commands that an operator would run: it finds the failure, asks the doctor, mends the
provider, and retries what failed in one go.  With --pause it waits for Enter before each, so that
there is time to look at ``awa tui`` in another window.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
AWA = [sys.executable, "-m", "awa_cli"]


class Play:
    """The processes of the incident, and the commands of the operator."""

    def __init__(self, *, pause: bool) -> None:
        self.pause = pause
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {
            **os.environ,
            "MAIL_URL": f"http://127.0.0.1:{self.port}",
            "MAIL_RETRY_SECONDS": "0.2",
            "AWA_APP_VERSION": "shop-41",
            "COLUMNS": "100",
        }
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, cwd=HERE, env=self.environment, stderr=subprocess.DEVNULL
        )
        self.running.append(process)
        return process

    def start_provider(self) -> subprocess.Popen[bytes]:
        process = self.start(sys.executable, "provider.py", str(self.port))
        wait("the provider", lambda: self.mails() is not None)
        return process

    def mails(self) -> int | None:
        """Return how many mails the provider has accepted, or None while it is down."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return int(json.load(answer)["mails"])
        except OSError:
            return None

    def awa(self, *words: str) -> str:
        """Run a command and return what it says; a finding of the doctor is no error."""
        done = subprocess.run(
            [*AWA, *words],
            cwd=HERE,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and words[0] != "doctor":
            raise SystemExit(done.stderr)
        return done.stdout

    def show(self, *words: str) -> None:
        """Run a command as an operator does: it is printed, and so is its answer."""
        print(f"\n$ awa {' '.join(words)}", flush=True)
        if self.pause:
            input("  [Enter] ")
        print(self.awa(*words), end="", flush=True)

    def states(self) -> dict[str, int]:
        """Return how many receipts there are in each state."""
        found: dict[str, int] = {}
        jobs = self.awa("job", "list", "--kind", "send_receipt", "--all", "-o", "ndjson")
        for line in jobs.splitlines():
            state = json.loads(line)["state"]
            found[state] = found.get(state, 0) + 1
        return found

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait(timeout=60)


def wait(what: str, done: Callable[[], Any], seconds: float = 300) -> None:
    """Wait until it is so; a person would watch ``awa queue stats --watch``."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise SystemExit(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)


def place_orders(count: int) -> None:
    """Place orders, each in a transaction with the job of its receipt."""
    from jobs import SendReceipt
    from worker import database, set_up

    set_up()
    with database.transaction() as tx:
        rows = tx.fetch_all(
            "INSERT INTO orders (email, item)"
            " SELECT 'customer' || n || '@example.com', 'tea' FROM generate_series(1, $1) AS n"
            " RETURNING id, email",
            count,
        )
        tx.insert_many([SendReceipt(row["id"], row["email"]) for row in rows])


def main() -> None:
    options = argparse.ArgumentParser(description="Play an incident.")
    options.add_argument("--orders", type=int, default=2_000)
    options.add_argument("--pause", action="store_true", help="wait for Enter before each command")
    chosen = options.parse_args()
    play = Play(pause=chosen.pause)
    try:
        run(play, chosen.orders)
    finally:
        play.end()


def run(play: Play, orders: int) -> None:
    place_orders(0)
    provider = play.start_provider()
    play.start(*AWA, "worker", "worker:client", "--promote-interval", "100ms")

    print("The provider is stopped, and customers go on ordering.")
    provider.send_signal(signal.SIGTERM)
    provider.wait(timeout=30)
    place_orders(orders)
    wait("the receipts to fail", lambda: play.states() == {"failed": orders})

    print(f"\nWhat fails?  {orders:,} jobs that fail in one way are one line.")
    play.show("failure", "list", "--since", "1h")
    (failure,) = json.loads(play.awa("failure", "list", "-o", "json"))
    play.show("failure", "show", failure["id"])
    print("\nIs anything else wrong?")
    play.show("doctor")

    print("\nThe provider is mended.  One receipt is tried first, then all of them.")
    play.start_provider()
    (first,) = play.awa(
        "job", "list", "--failure", failure["id"], "--limit", "1", "-o", "ids"
    ).split()
    play.show("job", "retry", first)
    wait("the first receipt", lambda: play.states().get("completed") == 1)
    play.show("failure", "retry", failure["id"], "--yes")
    wait("the receipts", lambda: play.states() == {"completed": orders})

    print("\nNothing is left to do:")
    play.show("queue", "stats")
    print(f"\nThe provider has accepted {play.mails()} mails for {orders} orders.")


if __name__ == "__main__":
    main()
