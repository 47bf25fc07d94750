"""The config file: named databases, and the settings of the monitor.

It is TOML with one table per context::

    current = "staging"

    [contexts.staging]
    url = "postgresql://app@db.staging/app"
    password = "env:STAGING_PASSWORD"
    color = "yellow"
    protected = false

    [tui]
    theme = "awa-light"
    interval = "5s"

    [tui.keys]
    "queue.pause" = "P"
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from awa_cli.input import decoded, parse_toml
from awa_lib.errors import InvalidInput

__all__ = [
    "COLORS",
    "Config",
    "Context",
    "MonitorSettings",
    "change_config",
    "config_path",
    "read_config",
]

COLORS: Final = ("red", "yellow", "green", "cyan", "blue", "magenta")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEYS: Final = ("url", "password", "color", "protected")
_MONITOR_KEYS: Final = ("theme", "interval", "keys")


@dataclass(frozen=True, slots=True)
class Context:
    """A named database.  A name has at most 64 letters, digits, dots, dashes and underscores."""

    name: str
    url: str
    """A database URL without a password, ``embedded:`` or ``embedded:PATH``, or a reference to
    the URL: ``env:NAME`` (an environment variable), ``cmd:COMMAND`` (the output of a command, run
    without a shell) or ``service:NAME`` (a service of pg_service.conf).
    """
    password: str | None = None
    """A reference to the password, ``env:NAME`` or ``cmd:COMMAND``, never the password itself.
    By default PGPASSWORD and ~/.pgpass are used.
    """
    color: str | None = None
    """The colour of the name when a command names its database: red, yellow, green, cyan, blue
    or magenta.
    """
    protected: bool = False
    """Ask for the name before each change; without a terminal, --yes is required."""


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """Settings of ``awa tui``.  ``keys`` binds keys to the names that its help shows."""

    theme: str | None = None
    interval: str | None = None
    keys: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """The contents of the config file."""

    path: Path
    current: str | None = None
    """The context that commands use if none of --database-url, --context and DATABASE_URL is
    given.
    """
    contexts: dict[str, Context] = field(default_factory=dict)
    tui: MonitorSettings = field(default_factory=MonitorSettings)

    def context(self, name: str) -> Context:
        """Return a context.  Raises InvalidInput for an unknown name."""
        if name in self.contexts:
            return self.contexts[name]
        from awa_lib.validation import did_you_mean

        raise InvalidInput(
            f"no context is named {name!r}",
            why=f"{self.path} has {', '.join(self.contexts) or 'none'}",
            hint=did_you_mean(name, self.contexts, "--context ")
            or f"add it: awa context add {name} URL",
        )


def config_path() -> Path:
    """Return the path of the config file: ``AWA_CONFIG``, else ~/.config/awa/config.toml."""
    if given := os.environ.get("AWA_CONFIG"):
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "awa" / "config.toml"


def read_config() -> Config:
    """Read the config file; without a file the config is empty.  Raises InvalidInput."""
    path = config_path()
    return _parse(path, _text(path))


def _text(path: Path) -> str:
    try:
        return decoded(path.read_bytes())
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise _bad(path, f"it cannot be read: {reason}") from None


def _parse(path: Path, text: str) -> Config:
    try:
        found = parse_toml(text)
    except ValueError as error:
        raise _bad(path, f"it is not TOML: {error}") from None
    current, tables = found.get("current"), found.get("contexts", {})
    if not isinstance(tables, dict) or not (current is None or isinstance(current, str)):
        raise _bad(path, "current must be a name, contexts a table")
    contexts = {name: _context(path, name, tables[name]) for name in tables}
    return Config(path, current, contexts, _monitor(path, found.get("tui", {})))


def _context(path: Path, name: str, table: Any) -> Context:
    if not isinstance(table, dict) or not isinstance(table.get("url"), str):
        raise _bad(path, f"contexts.{name} has no url")
    _check(path, f"contexts.{name}", table, _KEYS, {"protected": bool})
    return Context(name, **table)


def _monitor(path: Path, table: Any) -> MonitorSettings:
    if not isinstance(table, dict):
        raise _bad(path, "tui must be a table")
    _check(path, "tui", table, _MONITOR_KEYS, {"keys": dict})
    if not all(isinstance(value, str) for value in table.get("keys", {}).values()):
        raise _bad(path, 'tui.keys gives each name its keys as one text, like "p,P"')
    return MonitorSettings(**table)


def _check(
    path: Path, where: str, table: dict[str, Any], keys: tuple[str, ...], types: dict[str, type]
) -> None:
    for key, value in table.items():
        if key not in keys or not isinstance(value, types.get(key, str)):
            # The value may be a secret, so it is not shown.
            what = f"the value of {where}.{key} has the wrong type"
            if key not in keys:
                from awa_lib.validation import did_you_mean

                near = did_you_mean(key, keys)
                what = f"there is no key {where}.{key}{f'; {near}' if near else ''}"
            raise _bad(path, what)


def _bad(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"the config file {path} is not valid", why=why, hint="see man awa-config")


def change_config(
    *, put: Context | None = None, remove: str | None = None, use: str | None = None
) -> Config:
    """Add, replace or remove a context, or make it current; write the file with mode 0600.

    The rest of the file is kept, comments included, if the lines to change can be found; else the
    file is rewritten without comments.  Raises InvalidInput.
    """
    path = config_path()
    text = _text(path)
    before = parse_toml(text) if _parse(path, text) else {}
    after = _changed(before, put, remove, use)
    new = _edited(text, put, remove, use, before.get("current"))
    if not _same(new, after):
        new = _whole(after)
    _write(path, new)
    return _parse(path, new)


def _changed(
    before: dict[str, Any], put: Context | None, remove: str | None, use: str | None
) -> dict[str, Any]:
    after = before | {"contexts": dict(before.get("contexts", {}))}
    if put is not None:
        if not _NAME.fullmatch(put.name):
            raise InvalidInput(
                f"{put.name!r} cannot be the name of a context",
                hint="use up to 64 letters, digits, dots, dashes and underscores",
            )
        after["contexts"][put.name] = _table(put)
    if remove is not None:
        del after["contexts"][remove]
        if after.get("current") == remove:
            del after["current"]
    return after if use is None else after | {"current": use}


def _table(context: Context) -> dict[str, Any]:
    values = {key: getattr(context, key) for key in _KEYS}
    return {key: value for key, value in values.items() if value not in (None, False)}


def _same(text: str, wanted: dict[str, Any]) -> bool:
    try:
        found = parse_toml(text)
    except ValueError:
        return False
    return found | {"contexts": found.get("contexts", {})} == wanted


def _whole(after: dict[str, Any]) -> str:
    import tomli_w

    return tomli_w.dumps(after)


def _edited(
    text: str, put: Context | None, remove: str | None, use: str | None, current: str | None
) -> str:
    """Edit the text line by line; the caller checks the result."""
    import tomli_w

    gone = remove if remove is not None else put.name if put is not None else None
    if gone is not None:
        text = _without(text, gone)
        if remove is not None and current == remove:
            text = _replace_current(text, "")
    if put is not None:
        table = tomli_w.dumps({"contexts": {put.name: _table(put)}})
        text = f"{text.rstrip()}\n\n{table}".lstrip("\n")
    return text if use is None else _replace_current(text, tomli_w.dumps({"current": use}))


def _without(text: str, name: str) -> str:
    """Remove the table of a context, but not the comments above the next header."""
    header = re.compile(rf'\s*\[contexts\.(?:{re.escape(name)}|"{re.escape(name)}")\]\s*(#.*)?')
    kept: list[str] = []
    pending: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = header.fullmatch(line.rstrip("\n")) is not None
            kept += [] if inside else pending
            pending = []
        if inside and (not line.strip() or line.lstrip().startswith("#")):
            pending.append(line)  # the next line shows which table it belongs to
        elif inside:
            pending = []
        else:
            kept.append(line)
    return "".join(kept + pending)


def _replace_current(text: str, line: str) -> str:
    lines = text.splitlines(keepends=True)
    for number, old in enumerate(lines):
        if old.lstrip().startswith("["):
            break
        if re.match(r"\s*current\s*=", old):
            return "".join([*lines[:number], line, *lines[number + 1 :]]).lstrip("\n")
    return f"{line}\n{text}" if line else text


def _write(path: Path, text: str) -> None:
    """Replace the file atomically, readable only by its owner."""
    path = path.resolve()  # keep a symbolic link
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise InvalidInput(
            f"the config file {path} cannot be written", why=str(error.strerror).lower()
        ) from None
