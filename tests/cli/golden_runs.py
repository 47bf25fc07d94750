"""Run commands for the golden files, and take out of the output what truly varies."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from fix_cli import environment

from awa_cli.database.target import describe
from awa_cli.main import main

GOLDEN = Path(__file__).parent / "golden"
SEED = (GOLDEN / "seed.sql").read_text(encoding="utf-8")
# Where the moment of a run is moved to.
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CRON_IN = timedelta(hours=14, minutes=30)

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_CLOCK = re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b")
# Progress: drawn where a run takes over a second, and gone at its end.
_ERASED = re.compile(r"\r[^\r\n]*\x1b\[K")
_COLOR = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\")
_HIDDEN = re.compile(r"\x1b\[\?25[hl]")
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_KNOWN = ("0b7a3c1e-", "4e0c2c1e-", "8feaec61-", "00000000-")
_VARYING = [
    (re.compile(r"\bawa_[\w-]{43}\b"), "awa_TOKEN"),
    (re.compile(r"\b(now|\d+s ago)  (2026-01-01T12:00:00Z)"), r"now  \2"),
    (re.compile(r"\(\d+ ms\)"), "(N ms)"),
    (re.compile(r"(lag_seconds['\"]?: ?)\d+\.\d+"), r"\1N"),
    (re.compile(r"(\bseconds(?:_left)?['\"]?: ?)\d+\.\d{3,}"), r"\1N"),
    (re.compile(r"(?m)(?<=,)\d+\.\d{3,}(?=,|$)"), "N"),  # the same in csv
    (re.compile(r"PostgreSQL \d+(\.\d+)?"), "PostgreSQL N"),
    (re.compile(r"(?m)^(awa|python|psycopg|libpq|server)( +)\d\S*$"), r"\1\2N"),
    (re.compile(r'"(awa|python|psycopg|libpq|server)": "\d[^"]*"'), r'"\1": "N"'),
]
ENVIRONMENT = {"TZ": "UTC", "AWA_CALLBACK_HMAC_SECRET": "01" * 32}

CONFIG = """\
current = "here"

[contexts.here]
url = "env:HERE"

# Ask before you touch it.
[contexts.prod]
url = "postgresql://app@127.0.0.1:1/app"
password = "env:PROD_PASSWORD"
color = "red"
protected = true
"""
SCHEDULES = """\
schedules:
- name: nightly
  cron_expr: '{cron}'
  kind: nightly_report
  args: {day: yesterday}
  tags: [report]
  priority: 1
- name: hourly
  cron_expr: '0 * * * *'
  kind: send_email
"""

ACCESS = f"""\
[users.alice]
password = "scrypt:16384:8:1:{"00" * 16}:{"00" * 32}"
scope = "operate"

[tokens.ci]
sha256 = "{"00" * 32}"
scope = "read"
"""


def seed(url: str) -> datetime:
    """Seed a database, and return the moment that its rows are written for."""
    now = datetime.now(UTC)
    # A schedule at second 0 is shown in words, at any other as it is.
    now = now.replace(second=now.second or 1, microsecond=0)
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as conn:
        conn.execute(f"SET golden.now = '{now.isoformat()}'")
        conn.execute(SEED)
    return now


class Place:
    """One seeded database and the files beside it; moves its moment to noon of a fixed day."""

    def __init__(self, url: str, now: datetime, make_empty: Callable[[], str], folder: Path):
        self.url, self.now, self.folder = url, now, folder
        self._make_empty, self._empty = make_empty, ""
        cron = self._cron(self.now)
        self.words = {"dir": str(folder), "cron": cron}
        (folder / "schedules.yaml").write_text(SCHEDULES.replace("{cron}", cron))
        (folder / "access.toml").write_text(ACCESS)
        Path(os.environ["AWA_CONFIG"]).parent.mkdir(exist_ok=True)
        Path(os.environ["AWA_CONFIG"]).write_text(CONFIG)

    def fill(self, command: str) -> str:
        """Put words in the place of names in braces."""
        if "{empty}" in command:
            self._empty = self._empty or self._make_empty()
            command = command.replace("{empty}", self._empty)
        for name, word in self.words.items():
            command = command.replace(f"{{{name}}}", word)
        return command

    @staticmethod
    def _cron(now: datetime, hours: int = 0) -> str:
        return f"{now + CRON_IN + timedelta(hours=hours):%S %M %H} * * *"

    def plain(self, text: str) -> str:
        """Replace what differs between two runs, and nothing else."""
        text = _HIDDEN.sub("", _COLOR.sub("", _ERASED.sub("", text)))
        *_, text = text.split("\x1b[2K")  # of what is drawn in place, the last remains
        for hours in (0, 9):  # UTC and Tokyo
            text = text.replace(self._cron(self.now, hours), self._cron(NOON, hours))
        text = _CLOCK.sub(self._clock, _MOMENT.sub(self._moved, text))
        text = _UUID.sub(self._uuid, text)
        for url, name in ((self.url, "app"), (self._empty, "empty")):
            if url:
                text = text.replace(describe(url).label, f"me@host/{name}")
        text = text.replace(os.environ["AWA_CONFIG"], "{config}")
        for path, shown in ((str(self.folder), "{dir}"), (os.getcwd(), "{cwd}")):
            text = text.replace(path, shown).replace(quote(path, safe=""), shown)
        for pattern, shown in _VARYING:
            text = pattern.sub(shown, text)
        return text

    def _moved(self, match: re.Match[str]) -> str:
        moment = datetime.fromisoformat(match[0])
        moved = NOON.astimezone(moment.tzinfo) + (moment - self.now)
        # What happens in a run happens at noon; the seed has whole seconds, and none of them.
        if match[1] or timedelta(0) <= moment - self.now < timedelta(minutes=1):
            moved = moved.replace(second=0, microsecond=0)
        return moved.isoformat().replace("+00:00", "Z" if match[2] == "Z" else "+00:00")

    def _clock(self, match: re.Match[str]) -> str:
        clock = datetime.strptime(match[0], "%H:%M:%S.%f").replace(tzinfo=UTC)
        return f"{clock + (NOON - self.now):%H:%M:%S}.000"

    @staticmethod
    def _uuid(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith(_KNOWN) else re.sub(r"[0-9a-f]", "x", match[0])


@dataclass(frozen=True)
class Line:
    """One command line as it stands in a golden file."""

    text: str

    @property
    def piped(self) -> bool:
        """Whether it is not for a terminal: data, or with something on stdin."""
        command = self.text.partition(" <<< ")[0]
        return command.endswith("| cat") or " -o " in command or " - " in f"{command} "

    @property
    def typed(self) -> str:
        _, given, typed = self.text.partition(" <<< ")
        return typed.replace("\\n", "\n") + "\n" if given else ""

    def argv(self, place: Place) -> list[str]:
        command = self.text.partition(" <<< ")[0].removesuffix("| cat")
        return shlex.split(place.fill(command))


def in_a_pipe(line: Line, place: Place, monkeypatch: Any, capsys: Any) -> tuple[str, str]:
    """Run in this process; return what a golden file shows of it, and stdout as it was."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(line.typed))
    capsys.readouterr()
    status = int(main(line.argv(place)))
    out, err = capsys.readouterr()
    err = "".join(f"stderr: {text}".rstrip(" ") + "\n" for text in err.splitlines())
    return place.plain(out + err) + _ended(status), out


def at_a_terminal(line: Line, place: Place, terminals: Any, columns: int) -> str:
    """Run in a process at a terminal so wide."""
    more = {"TERM": "xterm-256color", "AWA_PAGER": "", "HERE": place.url, **ENVIRONMENT}
    request = {
        "argv": line.argv(place), "columns": columns, "keys": line.typed,
        "environment": environment(place.url, **more),
    }  # fmt: skip
    print(json.dumps(request), file=terminals.stdin, flush=True)
    answer = json.loads(terminals.stdout.readline())
    return place.plain(answer["out"]) + _ended(answer["status"])


def _ended(status: int) -> str:
    return f"exit status {status}\n" if status else ""
