r"""The quoting of bash and zsh.

What is written is always printable: a control character becomes ``$'\033'``, with octal digits,
which bash 3.2 reads too.  Every start of a quoted text can be completed again, because shells
insert the common start of several candidates.
"""

from __future__ import annotations

import os
import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

from awa_cli.parser.shells.words import Candidate, Line, Word, character, common_start, encodable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["PLAIN", "insertions", "read_line", "read_word"]

PLAIN: Final = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9_@%+.,/:-]*", re.ASCII)
_OPEN: Final = re.compile(r"--[a-z-]+=|[a-z]+=")
_BLANK: Final = " \t\n"
_LIVE: Final = "*?[{~!()"
_NAMED: Final = dict(zip("abeEfnrtv", "\a\b\x1b\x1b\f\n\r\t\v", strict=True))
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9A-Fa-f]{1,2})|u(?P<four>[0-9A-Fa-f]{1,4})"
    r"|U(?P<eight>[0-9A-Fa-f]{1,8})|c(?P<control>.)|(?P<one>.))",
    re.DOTALL,
)
_UNFINISHED_ESCAPE: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\[0-7]{0,2}$")


def read_line(text: str) -> Line:
    """Read the words of a command up to the cursor; the first is the program."""
    words = _Reader(text).words()
    return Line([one.value for one in words[1:-1] if not one.target], words[-1])


def read_word(text: str) -> Word:
    """Read a single word."""
    return _Reader(text).words()[-1]


class _Reader:
    """Splits a text into words and takes off their quotes.  Expands nothing."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._word = Word()
        self._started = False
        self._words: list[Word] = []

    def words(self) -> list[Word]:
        """Return the words; the last is empty after a blank."""
        while self._at < len(self._text):
            self._step()
        return [*self._words, self._word]

    def _step(self) -> None:
        start, char = self._at, self._text[self._at]
        after = self._text[start + 1 : start + 2]
        if char in _BLANK:
            self._end()
            self._at += 1
            return
        if (char in "<>" and after != "(") or (char == "&" and after == ">"):
            self._redirect()
            return
        if char in ";|&":
            self._end()
            self._words.clear()  # the words were of another command
            self._at += 1
            return
        self._started = True
        if char == "\\":
            self._word.value += after if after != "\n" else ""
            self._at += 2
        elif char == "$" and after and after in "'\"":
            self._quoted("$'" if after == "'" else '"', start + 2)
        elif char in "'\"":
            self._quoted(char, start + 1)
        elif char in "$`<>(":
            self._expansion()
        else:
            self._word.live |= char in _LIVE or (char == "#" and not self._word.raw)
            self._word.value += char
            self._at += 1
        self._word.raw += self._text[start : self._at]

    def _end(self) -> None:
        if self._started:
            self._words.append(self._word)
        if self._started or not self._word.target:
            self._word = Word()
        self._started = False

    def _redirect(self) -> None:
        if self._word.raw.isdecimal():  # the number of a descriptor
            self._word, self._started = Word(), False
        self._end()
        while self._at < len(self._text) and self._text[self._at] in "<>&|":
            self._at += 1
        self._word = Word(target=True)

    def _quoted(self, quote: str, start: int) -> None:
        r"""Read up to the closing quote.  In ``$'`` and ``"``, a backslash may keep it open."""
        end = start
        while end < len(self._text) and self._text[end] != quote[-1]:
            end += 2 if self._text[end] == "\\" and quote != "'" else 1
        end = min(end, len(self._text))
        inside, is_open = self._text[start:end], end == len(self._text)
        word = self._word
        if quote == "$'":
            word.value += _unescaped(inside, is_open=is_open)
        elif quote == '"':
            word.live |= re.search(r"(?<!\\)(?:\\\\)*[$`!]", inside) is not None
            word.value += re.sub(r'\\(?:([$`"\\])|\n)', lambda found: found[1] or "", inside)
        else:
            word.value += inside
        word.quote = quote if is_open else ""
        self._at = end + (not is_open)

    def _expansion(self) -> None:
        """Pass over what the shell would replace; its blanks end no word."""
        text, start = self._text, self._at
        self._word.live = True
        self._at += 1
        if text[start] == "`":
            end = text.find("`", self._at)
            self._at = len(text) if end < 0 else end + 1
        elif text[start] != "(" and text[self._at : self._at + 1] in {"(", "{"}:
            depth = 0
            while self._at < len(text):
                depth += (text[self._at] in "({") - (text[self._at] in ")}")
                self._at += 1
                if not depth:
                    break
        self._word.value += text[start : self._at]


def _unescaped(text: str, *, is_open: bool) -> str:
    """Read the inside of ``$'…'``, whose numbers are bytes; an unfinished escape is left out."""
    if is_open:
        text = _UNFINISHED_ESCAPE.sub(r"\1", text)

    def read(found: re.Match[str]) -> str:
        if number := found["octal"]:
            return os.fsdecode(bytes([int(number, 8) & 0xFF]))
        if number := found["hex"]:
            return os.fsdecode(bytes([int(number, 16)]))
        if number := found["four"] or found["eight"]:
            return character(number)
        if found["control"]:
            return chr(ord(found["control"]) & 0x1F)
        return _NAMED.get(found["one"], found["one"])

    text = os.fsdecode(_ESCAPE.sub(read, text).encode(errors="surrogateescape"))
    # A character whose last bytes are not typed yet.
    return text.rstrip("".join(map(chr, range(0xDC80, 0xDD00)))) if is_open else text


def insertions(
    line: Line, found: Sequence[Candidate], reserved: Collection[str] = ()
) -> list[tuple[str, Candidate]]:
    """Return what to put in place of the rest of the word, for each candidate.

    After an open quote this is its inside, which neither opens nor closes it.
    A word of ``reserved`` is quoted, though it looks plain.
    """
    kept = line.kept
    if kept.live:  # the shell would change the start of the name
        return []
    known: list[tuple[str, str, Candidate]] = []
    for one in found:
        if one.text.startswith(kept.value) and encodable(one.text):
            head = one.lead[len(kept.value) :]
            known.append((head, one.text[len(kept.value) + len(head) :], one))
    rests = [rest for _, rest, _ in known]
    if kept.quote == "$'":
        return [(head + _in_dollar(rest), one) for head, rest, one in known]
    if kept.quote == "'":
        return [(head + _in_single(rest), one) for head, rest, one in known]
    if kept.quote == '"':
        simple = all(map(_fits_double, rests))
        write = _in_double if simple else _beside_double
        return [(head + write(rest), one) for head, rest, one in known]

    def plain(rest: str, one: Candidate) -> bool:
        fits = PLAIN.fullmatch(rest) or (one.unfinished and _OPEN.fullmatch(rest))
        return bool(fits) and rest not in reserved

    # If they have a common start, the shell inserts it: all of them must then begin alike.
    alike = common_start(rests) != "" and not all(plain(rest, one) for _, rest, one in known)
    return [
        (head + (rest if plain(rest, one) and not alike else f"'{_in_single(rest)}'"), one)
        for head, rest, one in known
    ]


def _in_single(text: str) -> str:
    """Write text inside an open single quote, which is open again at its end."""
    parts = ((shown, "".join(part)) for shown, part in groupby(text, str.isprintable))
    return "".join(
        part.replace("'", "'\\''") if shown else f"'$'{_in_dollar(part)}''" for shown, part in parts
    )


def _in_dollar(text: str) -> str:
    r"""Write text inside ``$'``.  A quote becomes a number: readline knows no ``\'`` there."""
    return "".join(one if one.isprintable() and one not in "\\'!" else _octal(one) for one in text)


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))


def _fits_double(text: str) -> bool:
    """Return whether double quotes can hold it: a backslash before an exclamation mark stays."""
    return text.isprintable() and "!" not in text


def _in_double(text: str) -> str:
    return re.sub(r'([$`"\\])', r"\\\1", text)


def _beside_double(text: str) -> str:
    """Close the double quote, write the text in single quotes, and open it again."""
    return f"\"'{_in_single(text)}'\""
