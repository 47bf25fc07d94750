"""zsh.  It keeps the quote that opens a word (``QIPREFIX``), replaces the rest, and closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_cli.parser.shells.posix import insertions, read_line, read_word
from awa_cli.parser.shells.words import about_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from awa_cli.parser.shells.words import Candidate, Line

__all__ = ["FILE", "SCRIPT", "read", "write"]

FILE: Final = "_awa"
# -Q: what is inserted is quoted already.  -U: it need not look like what is typed, which may be
# quoted in another way.  -V: the newest ids come first.  With -S, zsh closes no quote.
SCRIPT: Final = r"""
#compdef awa

_awa_completion() {
    local reply
    local -a lines inserted shown how
    reply=$(_AWA_COMPLETE=zsh _AWA_LINE="${(j: :)words[1,CURRENT]}" _AWA_KEPT="$QIPREFIX" \
        _AWA_ALIASES="${(kpj:\n:)galiases}" command awa 2>/dev/null </dev/null) || return 1
    lines=("${(@f)reply}")
    case $lines[1] in
        '=files') _files; return ;;
        '=none') return 1 ;;
        '=open') how=(-S '') ;;
    esac
    shift lines
    inserted=("${(@)lines%%$'\t'*}")
    shown=("${(@)lines#*$'\t'}")
    (( ${#${(M)shown:#*  -- *}} )) && how+=(-l)
    compadd -V awa -U -Q "${(@)how}" -d shown -a inserted
}

if [[ $funcstack[1] == _awa ]]; then
    _awa_completion "$@"
else
    compdef _awa_completion awa
fi
"""


def read(env: Mapping[str, str]) -> Line:
    """Read the words up to the cursor, and the quote that opens the last."""
    line = read_line(env.get("_AWA_LINE", ""))
    kept = env.get("_AWA_KEPT", "")
    if kept and line.word.raw.startswith(kept):
        line.kept = read_word(kept)
    return line


def write(line: Line, found: Sequence[Candidate], env: Mapping[str, str]) -> list[str]:
    """Write what is inserted, and what the list shows.  A plain word may be a global alias."""
    known = insertions(line, found, env.get("_AWA_ALIASES", "").split("\n"))
    width = max((len(about_of(one.text)) for _, one in known), default=0)
    out = []
    for text, one in known:
        shown = about_of(one.text)
        if one.about:
            shown = f"{shown:{width}}  -- {about_of(one.about)}"
        out.append(f"{text}\t{shown}")
    return out
