"""Pages of the docs, read as somebody reads them: files are saved, commands are typed in order.

- A block whose first line is ``# NAME.EXT`` is a file.
- A block of ``sh`` is typed at a prompt; variables and the directory stay for the next one.
- ``<!-- in another terminal -->`` before a block: it goes on until the page is read, or until the
  page types the same command again, as after Ctrl-C.
- ``<!-- ends with N -->`` before a block: the status of its last command.
- ``<!-- not run: REASON -->`` before a block: it needs what a test has not.
- ``It prints:`` and a block after it: what is printed.  ``…`` stands for anything in a line, a line
  of ``…`` for any lines.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from fix_wait import eventually

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*?) -->\n+)?^```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```$"
    r"(?:\n+It prints:\n\n```\w*\n(?P<printed>.*?)^```$)?",
    re.S | re.M,
)
FILE = re.compile(r"# ([\w][\w/.-]*\.\w+|Dockerfile)\n")
PROGRAMS = {
    "pytest": "pytest", "uvicorn": "uvicorn", "python": "", "flask": "flask",
    "django-admin": "django",
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    mark: str
    printed: str | None
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if it is one."""
        named = FILE.match(self.text)
        return named[1] if named and self.language != "sh" else None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for one in BLOCK.finditer(text):
        yield Block(
            one["language"], one["text"], one["mark"] or "", one["printed"],
            text.count("\n", 0, one.start()) + 1,
        )  # fmt: skip


class Reader:
    """Somebody with an empty folder, a terminal, and a page."""

    def __init__(self, folder: Path, port: int, data: Path) -> None:
        self.folder = folder
        self.port = port
        self.state = folder / ".state"
        self.state.write_text(f"cd {shlex.quote(str(folder))}\n")
        self.here = folder
        self.programs = folder / ".bin"
        self.programs.mkdir()
        for name, module in PROGRAMS.items():
            self.program(name, f'exec {sys.executable} {"-m " + module if module else ""} "$@"')
        self.program("pip", "true")  # everything is installed
        # Neither the directory of the user nor one in a test's folder, which a server that runs as
        # another user cannot enter.
        awa = f"exec {sys.executable} -m awa_cli"
        self.program("awa", f'case $1 in dev) {awa} dev $2 -D {data};; *) {awa} "$@";; esac')
        self.environment = {
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self.others: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def read(self, page: Path) -> None:
        for block in map(self.here_and_now, blocks(page)):
            where = f"{page.name}, line {block.line}"
            if block.mark.startswith("not run"):
                continue
            if block.file is not None:
                path = self.here / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "sh":
                if block.mark == "in another terminal":
                    self.start(block.text, block.printed, where)
                else:
                    status = int(block.mark.removeprefix("ends with") or 0)
                    self.type(block.text, block.printed, where, status)

    def here_and_now(self, block: Block) -> Block:
        """Return a block with a port that is free on this machine, and tasks that Django has."""
        printed, text = (
            one and one.replace("8000", str(self.port)) for one in (block.printed, block.text)
        )
        if find_spec("django.tasks") is None and block.language == "python":
            # As the page tells users of Django 5.
            text = text.replace("from django.tasks", "from django_tasks")
        return replace(block, text=text, printed=printed)

    def shell(self, text: str, *, keep: bool) -> list[str]:
        after = f"export -p > {self.state}; echo cd $(pwd) >> {self.state}" if keep else "true"
        return ["bash", "-ec", f". {self.state}\n{text}\n{after}"]

    def type(self, text: str, printed: str | None, where: str, status: int) -> None:
        done = subprocess.run(
            self.shell(text, keep=True), env=self.environment, capture_output=True, text=True,
            timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == status, (
            f"{where}\n{text}\n{done.stdout}{done.stderr}{self.said()}"
        )
        self.here = Path(self.state.read_text().rsplit("\ncd ", 1)[1].strip())
        if printed is not None:
            shown = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
            assert re.fullmatch(pattern(printed), shown), f"{where}\n{text}\n{shown}{self.said()}"

    def start(self, text: str, printed: str | None, where: str) -> None:
        if text in self.others:
            self.stop(text)
        log = self.folder / f".said-{len(self.others)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.shell(f"exec {text}", keep=False), env=self.environment, stdout=out,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.others[text] = process, log

        def said() -> bool:
            ended = process.poll() is not None
            shown = log.read_text()
            found = re.search(pattern(printed or ""), shown)
            assert ended or found, f"{where}\n{text}\n{shown}"
            return True

        eventually(said, timeout=60)
        assert process.poll() is None, f"{where}\n{text}\n{log.read_text()}"

    def said(self) -> str:
        """Return what the other terminals show."""
        logs = [(text, log.read_text()) for text, (_, log) in self.others.items()]
        return "".join(f"\n--- {text}{log}" for text, log in logs)

    def stop(self, text: str) -> None:
        process, _ = self.others.pop(text)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)

    def leave(self) -> None:
        """Close every terminal, and stop the local Postgres."""
        for text in list(self.others):
            self.stop(text)
        subprocess.run(
            [self.programs / "awa", "dev", "down"], env=self.environment, capture_output=True,
            timeout=60,
        )  # fmt: skip


def pattern(printed: str) -> str:
    lines = []
    for line in printed.strip().splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?.*")
        else:
            lines.append(r"[^\n]*".join(map(re.escape, line.rstrip().split("…"))))
    return "\n".join(lines)
