r"""fish.  It takes names as they are and quotes them itself, in the way the word was begun.

It has no way to take a tab.  It writes a control character raw into an open quote, and invisible
ones always, so a name with any of these is not offered: it can be typed as ``\e`` or ``\u202e``.
A ``*`` that is typed is a pattern to it, also in quotes, and completes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from awa_cli.parser.shells.words import Line, Word, about_of, character, encodable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from awa_cli.parser.shells.words import Candidate

__all__ = ["FILE", "SCRIPT", "read", "write"]

FILE: Final = "awa.fish"
SCRIPT: Final = r"""
function __awa_completion
    set -l reply (env _AWA_COMPLETE=fish _AWA_LINE=(commandline -cp | string collect) awa \
        2>/dev/null </dev/null)
    switch "$reply[1]"
        case =files
            __fish_complete_path (commandline -ct)
        case =space =open
            printf '%s\n' $reply[2..-1]
    end
end

complete --command awa --no-files --arguments '(__awa_completion)'
"""
_NAMED: Final = dict(zip("abefnrtv", "\a\b\x1b\f\n\r\t\v", strict=True))
_ESCAPE: Final = re.compile(
    r"\\(?:x(?P<x>[0-9A-Fa-f]{1,2})|X(?P<X>[0-9A-Fa-f]{1,2})|u(?P<u>[0-9A-Fa-f]{1,4})"
    r"|U(?P<U>[0-9A-Fa-f]{1,8})|(?P<octal>[0-7]{1,3})|c(?P<control>.)|(?P<one>.))",
    re.DOTALL,
)
_PIECE: Final = re.compile(
    r"(?P<blank>[ \t\n]+)"
    r"|'(?P<single>(?:[^'\\]|\\.)*+)(?P<single_end>'|\\?$)"
    r'|"(?P<double>(?:[^"\\]|\\.)*+)(?P<double_end>"|\\?$)'
    r"|(?P<redirect>[0-9]*(?:&>|>)[>&|?]*|[0-9]*<[&?]?)"
    r"|(?P<other>\\[xX][0-9A-Fa-f]{1,2}|\\u[0-9A-Fa-f]{1,4}|\\U[0-9A-Fa-f]{1,8}|\\[0-7]{1,3}"
    r"|\\c.|\\.|\\$|.)",
    re.DOTALL,
)


def read(env: Mapping[str, str]) -> Line:
    """Read the words of the command up to the cursor."""
    words, word, begun = [], Word(), False
    for piece in _PIECE.finditer(env.get("_AWA_LINE", "")):
        if piece["blank"] or piece["redirect"]:
            if begun:
                words.append(word)
            if begun or piece["redirect"]:
                word = Word(target=bool(piece["redirect"]))
            begun = False
            continue
        begun = True
        word.raw += piece[0]
        word.value += _value(piece)
    args = [one.value for one in words[1:] if not one.target]
    return Line(args, word)


def _value(piece: re.Match[str]) -> str:
    if (text := piece["single"]) is not None:
        return re.sub(r"\\(['\\])", r"\1", text)
    if (text := piece["double"]) is not None:
        return re.sub(r'\\(?:(["\\$])|\n)', lambda found: found[1] or "", text)
    return _ESCAPE.sub(_unescaped, piece["other"]).removesuffix("\\" * (piece["other"] == "\\"))


def _unescaped(found: re.Match[str]) -> str:
    if digits := found["x"] or found["X"] or found["u"] or found["U"]:
        return character(digits)
    if found["octal"]:
        return chr(int(found["octal"], 8))
    if found["control"]:
        return chr(ord(found["control"]) & 0x1F)
    return "" if found["one"] == "\n" else _NAMED.get(found["one"], found["one"])


def write(line: Line, found: Sequence[Candidate], env: Mapping[str, str]) -> list[str]:  # noqa: ARG001 - the same for all shells
    """Write names, with descriptions after a tab."""
    return [
        one.text + (f"\t{about_of(one.about)}" if one.about else "")
        for one in found
        if one.text and one.text.isprintable() and encodable(one.text)
    ]
