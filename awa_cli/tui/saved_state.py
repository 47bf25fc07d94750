"""What the monitor saves for each database: screen, theme, filters, columns.  Never a secret."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from awa_cli.database.config import config_path

if TYPE_CHECKING:
    from pathlib import Path

    from awa_cli.database.target import Target

__all__ = ["SavedState"]


class SavedState:
    """A file beside the config file.  Its errors are ignored: losing it costs convenience only."""

    def __init__(self, target: Target, path: Path | None = None) -> None:
        self._path = path or config_path().with_name("tui-state.json")
        self._name = target.context.name if target.context is not None else target.label

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value that was saved for this database."""
        found = self._all().get(self._name)
        return found.get(key, default) if isinstance(found, dict) else default

    def put(self, key: str, value: Any) -> None:
        """Save a JSON value for this database; None removes it.

        The file is read again and replaced in one step: two monitors may run at once.
        """
        everything = self._all()
        mine = everything.get(self._name)
        known = dict(mine) if isinstance(mine, dict) else {}
        if known.get(key) == value:
            return
        known[key] = value
        if value is None:
            del known[key]
        everything[self._name] = known
        with suppress(OSError):
            self._write(json.dumps(everything, indent=2))

    def _all(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._path)
