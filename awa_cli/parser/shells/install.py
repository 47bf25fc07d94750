"""Print the completion script of a shell, or put it where the shell finds it."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from awa_cli.parser.shells import SHELLS, shell_module
from awa_lib.errors import InvalidInput

__all__ = ["current_shell", "install", "script"]

_COMMANDS: Final = {"pwsh": "powershell"}


def script(shell: str) -> str:
    """Return the completion script of a shell."""
    return shell_module(shell).SCRIPT.lstrip("\n")


def current_shell() -> str:
    """Return the shell that called this program.  Raises InvalidInput."""
    return _COMMANDS.get(found := _parent(), found)


def _parent() -> str:
    """Return the command of the shell that called this program, such as pwsh."""
    import shellingham  # typer needs it, and brings it

    found = ""
    with suppress(shellingham.ShellDetectionFailure, RuntimeError):
        found = str(shellingham.detect_shell()[0])
    if _COMMANDS.get(found, found) not in SHELLS:
        raise InvalidInput(
            f"there is no completion for {found}" if found else "cannot find out the current shell",
            why="awa completes in bash, zsh, fish and PowerShell",
            hint="run awa --show-completion in one of these shells",
        )
    return found


def install() -> tuple[str, Path]:
    """Write the script of the current shell, and the line that loads it.

    Returns the shell and the path of the script.  Raises InvalidInput.
    """
    command = _parent()
    shell = _COMMANDS.get(command, command)
    home = Path.home()
    if shell == "bash":
        path, start = home / ".bash_completions" / "awa.sh", home / ".bashrc"
        line = f"source {shlex.quote(str(path))}"
    elif shell == "zsh":
        path = home / ".zfunc" / "_awa"
        start = Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
        line = "fpath+=~/.zfunc; autoload -Uz compinit; compinit"
    elif shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        path, start, line = config / "fish" / "completions" / "awa.fish", None, ""
    else:
        start = _profile(command)
        path = start.with_name("awa.completion.ps1")
        line = ". '" + str(path).replace("'", "''") + "'"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script(shell))
        if start is not None:
            _add_line(start, line)
    except OSError as error:
        raise InvalidInput(
            f"cannot write {error.filename}",
            why=(error.strerror or "").lower(),
            hint="save what awa --show-completion prints, and let the shell read it at its start",
        ) from None
    return shell, path


def _add_line(start: Path, line: str) -> None:
    known = start.read_text(errors="surrogateescape") if start.exists() else ""
    if line not in known.splitlines():
        with start.open("a") as file:
            file.write("\n" * (known != "" and not known.endswith("\n")) + line + "\n")


def _profile(command: str) -> Path:
    """Ask PowerShell for the file that it reads at its start.  Raises InvalidInput."""
    try:
        done = subprocess.run(  # noqa: S603 - the shell that runs this program
            [command, "-NoProfile", "-NonInteractive", "-Command", "$PROFILE"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        raise InvalidInput(
            f"{command} does not say where its profile is",
            hint="save what awa --show-completion prints, and let $PROFILE read it",
        ) from None
    return Path(done.stdout.strip())
