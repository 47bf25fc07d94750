"""PowerShell.  It replaces the whole word, quotes included, and shows what it is told.

A script block talks JSON in ASCII: the encoding of a console differs from that of a pipe.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from awa_cli.parser.shells.words import Line, Word, about_of, character, common_start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from awa_cli.parser.shells.words import Candidate

__all__ = ["FILE", "SCRIPT", "quoted", "read", "write"]

FILE: Final = "awa.ps1"
SCRIPT: Final = r"""
Register-ArgumentCompleter -Native -CommandName awa -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $length = [Math]::Max(0, $cursorPosition - $commandAst.Extent.StartOffset)
    $asked = @{
        _AWA_COMPLETE = 'powershell'
        _AWA_LINE = $commandAst.Extent.Text.PadRight($length).Substring(0, $length)
        _AWA_PASSING = "$PSNativeCommandArgumentPassing"
    }
    try {
        foreach ($name in $asked.Keys) {
            [Environment]::SetEnvironmentVariable($name, $asked[$name])
        }
        $reply = @(awa 2>$null)
    } finally {
        foreach ($name in $asked.Keys) { [Environment]::SetEnvironmentVariable($name, $null) }
    }
    foreach ($line in $reply) {
        if (-not $line.StartsWith('=')) {
            $one = ConvertFrom-Json $line
            [System.Management.Automation.CompletionResult]::new(
                $one.text, $one.shown, 'ParameterValue', $one.about)
        }
    }
}
"""
# PowerShell reads the quotes of typography as quotes.
_SINGLE: Final = "'\u2018\u2019\u201a\u201b"
_DOUBLE: Final = '"\u201c\u201d\u201e'
# Not 1kb, 0x10 or 1e3, which are numbers, nor 1..3.
_PLAIN: Final = re.compile(r"--?[a-z][a-z-]*|[A-Za-z_][A-Za-z0-9_./-]*|0|[1-9][0-9]{0,17}")
_OPEN: Final = re.compile(r"--[a-z-]+=|[a-z]+=")
_NAMED: Final = dict(zip("0abefnrtv", "\0\a\b\x1b\f\n\r\t\v", strict=True))
_ESCAPE: Final = re.compile(r"`(?:u\{(?P<code>[0-9A-Fa-f]{1,6})\}|(?P<one>.))", re.DOTALL)
_PIECE: Final = re.compile(
    r"(?P<blank>\s+)"
    rf"|[{_SINGLE}](?P<single>(?:[^{_SINGLE}]|[{_SINGLE}]{{2}})*+)(?:[{_SINGLE}]|$)"
    rf"|[{_DOUBLE}](?P<double>(?:[^{_DOUBLE}`]|`.|[{_DOUBLE}]{{2}})*+)(?:[{_DOUBLE}]|`?$)"
    r"|(?P<redirect>[0-9*]?>>?(?:&1)?)"
    r"|(?P<other>`u\{[0-9A-Fa-f]{1,6}\}|`.|`$|.)",
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
                word = Word(target=bool(piece["redirect"]) and not piece[0].endswith("&1"))
            begun = False
            continue
        begun = True
        word.raw += piece[0]
        word.value += _value(piece)
    return Line([one.value for one in words[1:] if not one.target], word)


def _value(piece: re.Match[str]) -> str:
    if (text := piece["single"]) is not None:
        return re.sub(rf"[{_SINGLE}]([{_SINGLE}])", r"\1", text)
    if (text := piece["double"]) is not None:
        text = re.sub(rf"[{_DOUBLE}]([{_DOUBLE}])", r"`\1", text)
        return _ESCAPE.sub(_unescaped, text)
    return _ESCAPE.sub(_unescaped, piece["other"]).removesuffix("`" * (piece["other"] == "`"))


def _unescaped(found: re.Match[str]) -> str:
    if found["code"]:
        return character(found["code"])
    return "" if found["one"] == "\n" else _NAMED.get(found["one"], found["one"])


def write(line: Line, found: Sequence[Candidate], env: Mapping[str, str]) -> list[str]:  # noqa: ARG001 - the same for all shells
    """Write what is inserted, shown in the list, and shown beside it."""
    legacy = env.get("_AWA_PASSING", "") in {"", "Legacy"}
    known = [one for one in found if not (legacy and _changed(one.text))]
    rests = [one.text[len(one.lead) :] for one in known]
    alike = common_start(rests) != "" and not all(map(_plain, known))
    out = []
    for one, rest in zip(known, rests, strict=True):
        text = one.text if _plain(one) and not alike else one.lead + quoted(rest)
        shown = about_of(one.text) or "''"
        about = about_of(one.about) or shown
        out.append(json.dumps({"text": text, "shown": shown, "about": about}))
    return out


def _plain(one: Candidate) -> bool:
    rest = one.text[len(one.lead) :]
    return bool(_PLAIN.fullmatch(rest) or (one.unfinished and _OPEN.fullmatch(rest)))


def _changed(text: str) -> bool:
    """Return whether a PowerShell before 7.3 would pass another text to a program.

    It escapes neither double quotes nor a backslash before the quotes that it adds, and it drops
    an empty text.
    """
    return not text or '"' in text or (text.endswith("\\") and re.search(r"\s", text) is not None)


def quoted(text: str) -> str:
    """Return a string that stands for the text, printable, for every version of PowerShell."""
    if text.isprintable():
        return "'" + re.sub(rf"([{_SINGLE}])", r"\1\1", text) + "'"
    return '"' + "".join(map(_in_double, text)) + '"'


def _in_double(char: str) -> str:
    if not char.isprintable():
        # The escapes `e and `u{…} are unknown to Windows PowerShell 5.1.
        return f"$([char]::ConvertFromUtf32({ord(char)}))"
    return f"`{char}" if char in f"{_DOUBLE}`$" else char
