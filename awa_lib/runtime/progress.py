"""The progress of an attempt, as the JSON text that is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import dumps, loads
from awa_lib.codec.encode import encode_object
from awa_lib.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EMPTY", "Progress"]

# Text of each member of the object by key: all but the metadata, and those of the metadata.
Parts = tuple[dict[str, str], "dict[str, str] | None"]


class Progress:
    """An immutable snapshot of an attempt's progress.

    It keeps the text of each part.  So writing it cannot fail, later changes of the handler's
    objects have no effect, and a small change does not encode a large checkpoint again.
    """

    __slots__ = ("_parts", "_text")

    def __init__(self, text: str | None, parts: Parts | None) -> None:
        self._text = text
        self._parts = parts

    @classmethod
    def of_text(cls, text: str | None) -> Progress | None:
        """Return the progress of a row, parsed on its first change; None for none."""
        return cls(text, None) if text else None

    @property
    def text(self) -> str:
        """The whole as JSON text."""
        if self._text is None:
            others, metadata = self._read()
            members = list(others.values())
            if metadata is not None:
                members.append('"metadata":{' + ",".join(metadata.values()) + "}")
            self._text = "{" + ",".join(members) + "}"
        return self._text

    @property
    def value(self) -> Any:
        """A fresh copy as plain data."""
        return loads(self.text)

    def with_percent(self, percent: int, message: str | None) -> Progress:
        """Return a copy with this percent and message.  Raises SerializationError."""
        fresh: dict[str, Any] = {"percent": percent}
        if message is not None:
            fresh["message"] = message
        others, metadata = self._read()
        kept = {"metadata": others["metadata"]} if "metadata" in others else {}
        return Progress(None, ({**kept, **_encoded(fresh, "progress")}, metadata))

    def with_metadata(self, updates: Mapping[str, Any]) -> Progress:
        """Return a copy with these keys of its metadata replaced.

        Raises SerializationError or ValidationError, RuntimeError when the metadata of the row is
        not an object.
        """
        encoded = _encoded(updates, "updates")
        others, metadata = self._read()
        if "metadata" in others:
            raise RuntimeError("progress metadata is not an object")
        return Progress(None, (others, {**(metadata or {}), **encoded}))

    def _read(self) -> Parts:
        if self._parts is None:
            self._parts = _parts_of(self._text)
        return self._parts


EMPTY: Final = Progress("{}", ({}, None))


def _encoded(values: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the text of each member by key, like ``"key":value``."""
    found = {}
    for key, value in list(values.items()):
        text = encode_object({key: value}, name=name)
        found[str.__str__(key)] = text[1:-1]
    return found


def _parts_of(text: str | None) -> Parts:
    try:
        value = loads(text or "{}")
        if not isinstance(value, dict):
            return {}, None
        metadata = value.pop("metadata", None)
        if metadata is not None and not isinstance(metadata, dict):
            value["metadata"], metadata = metadata, None
        parts = {key: dumps({key: part})[1:-1] for key, part in value.items()}
        if metadata is None:
            return parts, None
        return parts, {key: dumps({key: part})[1:-1] for key, part in metadata.items()}
    except (ValueError, RecursionError) as error:
        raise SerializationError(
            "the stored progress of the job cannot be read",
            why="another program wrote a number or a depth of nesting that Python cannot hold",
        ) from error
