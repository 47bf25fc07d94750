"""Servers as processes, and requests to them."""

from __future__ import annotations

import re
import signal
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager

from fix_cli import argv, environment


@contextmanager
def serving(*args, url, **env):
    """Start the command; give (process, the address it says it listens on)."""
    process = subprocess.Popen(
        argv(*args), env=environment(url, **env), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        yield process, found[0], line
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        finally:
            process.kill()
            process.stdout.close()
            process.stderr.close()


def get(address: str, path: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, headers=headers), timeout=10
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
