"""Run programs with the Django of this interpreter, each in a fork: to import it takes a second.

A line of standard input is one of them: its text, its environment, and the files for its output.
The answer is its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import django.core.management
import django.db.backends.postgresql.base
import django.db.models

import awa_lib

LONGEST_SECONDS = 60


def run(text: str, environment: dict[str, str], outputs: list[str]) -> None:
    """Become the program."""
    signal.alarm(LONGEST_SECONDS)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    status = 1
    try:
        django.setup()
        names: dict[str, Any] = {"__name__": "__main__", "awa_lib": awa_lib}
        exec(compile(text, "program", "exec"), names)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    sys.path.insert(0, os.getcwd())
    for line in sys.stdin:
        request = json.loads(line)
        if (pid := os.fork()) == 0:
            run(**request)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


main()
