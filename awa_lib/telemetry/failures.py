"""Group attempts that failed in the same way.

A group is the type of the exception, the functions of the application that it went through, and its
message without what differs from job to job.  The id is a hash of these three and of the version of
the rule, so every process of a fleet gives the same failure the same id.
"""

from __future__ import annotations

import hashlib
import re
import sysconfig
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

__all__ = ["OTHERS", "RULE", "Group", "group_of", "group_of_text", "normalised"]

RULE: Final = 1
"""The version of the rule.  A change of the rule gives every failure a new id."""
OTHERS: Final = "others"
"""The id of the group of all failures beyond the bounds of the table."""
MESSAGE_LENGTH: Final = 200
FRAMES: Final = 10

_ID_DIGITS: Final = 12
_TYPE_LENGTH: Final = 200
_FRAME_LENGTH: Final = 150
# What is read of a message, and how many frames of a deep recursion.
_READ_LENGTH: Final = 1_000
_READ_FRAMES: Final = 2_000
_MOST_PASSES: Final = 8
_UNCLEAR: Final = "(a text without spaces)"

# In this order: a URL holds an address, and what is quoted may hold anything.  An apostrophe
# inside a word is no quote.  A quote without its end lasts to the end of the text.
_QUOTED: Final = re.compile(
    r"""
    (?<!\w)(?:[bBrRuUeEfF]{1,2})?'(?:\\.?|[^'\\]|'(?=\w))*(?:'|\Z)
    | "(?:\\.?|[^"\\])*(?:"|\Z)
    | `[^`]*(?:`|\Z)
    | \u201c[^\u201d]*(?:\u201d|\Z)
    | \u2018[^\u2019]*(?:\u2019|\Z)
    | \u201e[^\u201c\u201d]*(?:[\u201c\u201d]|\Z)
    | \u00ab[^\u00bb]*(?:\u00bb|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
# Each begins where a run of its characters begins, so that it is tried once for each run.  It is
# not tried on a text without its first part.
_MASKS: Final = (
    ("://", re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://\S*"), "<url>"),
    ("@", re.compile(r"(?<![^\s@<>])[^\s@<>]++(?:@[^\s@<>]+)+"), "<email>"),
    # IPv6
    (
        ":",
        re.compile(r"(?<![\w:.])(?=[0-9a-f.]*:[0-9a-f.]*:)[0-9a-f:.]{3,}+(?!\w)"),
        "<n>",
    ),
    # A word with a digit, and what follows it without a space: numbers, UUIDs, hashes, addresses.
    ("", re.compile(r"\b[^\W\d]*\d\w*(?:[.-]\w+)*"), "<n>"),
    ("", re.compile(r"\b[A-Fa-f]{8,}\b"), "<n>"),
)
_MASK: Final = "'...'"


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts that failed in the same way.

    ``error_type`` is the qualified name of the exception, empty for an error without one.
    ``frames`` are functions of the application, the handler first: ``shop/mail.py send``.
    """

    id: str
    error_type: str
    message: str
    frames: tuple[str, ...] = ()

    @classmethod
    def build(cls, error_type: str, message: str, frames: tuple[str, ...] = ()) -> Group:
        """Return the group of an error with this message, which is normalised here."""
        # Cut before the cache, which keeps it.
        return _build(error_type[:_TYPE_LENGTH], message[:_READ_LENGTH], frames)


@lru_cache(maxsize=1_024)
def _build(error_type: str, text: str, frames: tuple[str, ...]) -> Group:
    message = normalised(text)
    parts = "\x1f".join((str(RULE), error_type, message, *frames))
    digest = hashlib.sha256(parts.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return Group(digest[:_ID_DIGITS], error_type, message, frames)


def group_of(error: BaseException, error_type: str, message: str) -> Group:
    """Return the group of an exception with its qualified name and its text; raises nothing."""
    return Group.build(error_type, message, own_frames(error.__traceback__))


def group_of_text(text: str) -> Group:
    """Return the group of an error of which there is only a text: its first line counts."""
    return Group.build("", text.strip().partition("\n")[0])


def normalised(message: str) -> str:
    """Return a message without what differs from job to job, at most 200 characters long.

    Quoted text, numbers, words with digits, e-mail addresses and URLs are replaced.  To normalise
    the result changes nothing.
    """
    # A lone surrogate fits no encoding, and a NUL no column.
    text = message[:_READ_LENGTH].encode("utf-8", "replace").decode().replace("\x00", " ")
    for _ in range(_MOST_PASSES):
        before, text = text, _pass(text)
        if text == before:
            return text
    return _UNCLEAR


def _pass(text: str) -> str:
    text = " ".join(_QUOTED.sub(_MASK, text).split())
    for part, pattern, mask in _MASKS:
        if part in text:
            text = pattern.sub(mask, text)
    if len(text) <= MESSAGE_LENGTH:
        return text
    # Between two words, so that no replacement is cut.
    return text[: MESSAGE_LENGTH + 1].rpartition(" ")[0].rstrip() or _UNCLEAR


def own_frames(trace: TracebackType | None) -> tuple[str, ...]:
    """Return the functions of the application in a traceback, each once, without line numbers.

    Frames of the standard library, of installed packages and of awa are left out.  The package of
    the handler is the application's, also where it is installed.
    """
    frames: dict[str, None] = {}
    home: str | None = None
    try:
        for frame in islice(_frames(trace), _READ_FRAMES):
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package in _CALLERS and home is None:
                continue
            installed = _is_foreign(frame.f_code.co_filename)
            if home is None and not _is_standard(frame.f_code.co_filename):
                home = package
            if (not installed or package == home) and package not in _CALLERS:
                frames.setdefault(_name_of(frame))
    except BaseException:  # noqa: BLE001 - names in frames are the user's and may do anything
        return ()
    # The innermost ones tell most; the first is the handler.
    names = list(frames)
    return tuple(names if len(names) <= FRAMES else [names[0], *names[1 - FRAMES :]])


# Packages whose frames lie between the worker and a handler.
_CALLERS: Final = frozenset({"awa_lib", "awa_cli", "asyncio", "concurrent", "threading"})


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _name_of(frame: FrameType) -> str:
    """Return ``shop/mail.py send``: the file below the folder of its package, and the function."""
    module = str(frame.f_globals.get("__name__", ""))
    path = PurePath(frame.f_code.co_filename)
    depth = 1 + (0 if module == "__main__" else module.count("."))
    if path.stem == "__init__":
        depth += 1
    parts = path.parts[-depth:]
    name = f"{'/'.join(parts)} {frame.f_code.co_qualname}"
    return name[:_FRAME_LENGTH].encode("utf-8", "replace").decode().replace("\x00", " ")


@cache
def _standard_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({f"{paths[key]}/" for key in ("stdlib", "platstdlib") if key in paths})


@lru_cache(maxsize=4_096)
def _is_standard(file: str) -> bool:
    """Return True for a module of the standard library."""
    return file.startswith(("<frozen ", *_standard_folders())) and not _is_installed(file)


def _is_installed(file: str) -> bool:
    parts = PurePath(file).parts
    return "site-packages" in parts or "dist-packages" in parts


@lru_cache(maxsize=4_096)
def _is_foreign(file: str) -> bool:
    return _is_standard(file) or _is_installed(file)
