"""An interactive shell at a terminal, with the completion scripts, and what its command is given.

``awa`` there is a program that writes down its arguments; only what completes is the real one.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from fix_cli import environment

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "completions"
SECONDS = 30
# Messages in one pipe keep their order: the arguments of a command, then the next prompt.
STUB = """#!/bin/sh
if [ -n "$_AWA_COMPLETE" ]; then
  . "$AWA_HOME/env"
  exec {python} -m awa_cli "$@"
fi
printf '%s\\0' $# "$@" >"$AWA_HOME/said"
"""
BASH = """
PS1='> '
set -o history
HISTFILE=
PROMPT_COMMAND='printf "%s\\0" prompt >"$AWA_HOME/said"'
source {scripts}/awa.bash
"""
ZSH = """
PS1='> '
precmd() {{ printf '%s\\0' prompt >"$AWA_HOME/said" }}
fpath=({scripts} $fpath)
autoload -Uz compinit
compinit -u -D
"""
FISH = """
function fish_prompt; echo '> '; end
function fish_right_prompt; end
function fish_greeting; end
set fish_autosuggestion_enabled 0
function __said --on-event fish_prompt; printf '%s\\0' prompt >"$AWA_HOME/said"; end
source {scripts}/awa.fish
"""


# A shell whose terminal is not its own complains.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class ShellAtTerminal:
    """A shell that is typed to.  ``shown`` is all that the terminal was sent."""

    def __init__(self, shell: str, home: Path, *more: str) -> None:
        self.shell, self._home, self.shown = shell, home, b""
        home.mkdir(parents=True)
        os.mkfifo(home / "said")
        self._said = os.open(home / "said", os.O_RDWR | os.O_NONBLOCK)
        self._heard = b""
        stub = home / "bin" / "awa"
        stub.parent.mkdir()
        stub.write_text(STUB.format(python=shlex.quote(sys.executable)))
        stub.chmod(0o755)
        self._terminal, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 250, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *self._command("\n".join(more))],
            stdin=follower, stdout=follower, stderr=follower, start_new_session=True, cwd=home,
            env={"PATH": f"{stub.parent}:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm",
                 "LC_ALL": "C.UTF-8", "AWA_HOME": str(home), "ZDOTDIR": str(home)},
        )  # fmt: skip
        os.close(follower)
        assert self._hear() == "prompt"

    def _command(self, more: str) -> list[str]:
        home, scripts = self._home, shlex.quote(str(SCRIPTS))
        if self.shell == "bash":
            (home / "rc").write_text(BASH.format(scripts=scripts) + more)
            return ["bash", "--noprofile", "--rcfile", str(home / "rc"), "-i"]
        if self.shell == "zsh":
            (home / ".zshrc").write_text(ZSH.format(scripts=scripts) + more)
            return ["zsh", "-d", "-i"]
        (home / ".config" / "fish").mkdir(parents=True)
        (home / ".config" / "fish" / "config.fish").write_text(FISH.format(scripts=scripts) + more)
        return ["fish", "-i"]

    def ask_from(self, url: str, cache: Path) -> dict[str, str]:
        """Let completion ask this database, and keep its answers there; return its environment."""
        env = environment(url, XDG_CACHE_HOME=str(cache))
        keep = ("DATABASE_URL", "XDG_CACHE_HOME", "AWA_CONFIG", "PYTHONPATH")
        lines = [f"export {name}={shlex.quote(env[name])}\n" for name in keep]
        (self._home / "env").write_text("".join(lines))
        return env

    def enter(self, keys: str) -> list[str]:
        """Type keys and Enter; return the arguments that the command was given."""
        os.write(self._terminal, keys.encode() + b"\r")
        count = self._hear()
        assert count != "prompt", (keys, "was no command", self.shown[-2000:])
        given = [self._hear() for _ in range(int(count))]
        assert self._hear() == "prompt", (keys, "was more than a command")
        return given

    def _hear(self) -> str:
        until = time.monotonic() + SECONDS
        while b"\0" not in self._heard:
            left = max(0, until - time.monotonic())
            ready, _, _ = select.select([self._said, self._terminal], [], [], left)
            assert ready, ("nothing is said", self.shown[-2000:])
            if self._terminal in ready:
                self.shown += os.read(self._terminal, 65536)
            if self._said in ready:
                self._heard += os.read(self._said, 65536)
        first, _, self._heard = self._heard.partition(b"\0")
        return os.fsdecode(first)

    def close(self) -> None:
        """End the shell."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=SECONDS)
        os.close(self._terminal)
        os.close(self._said)
