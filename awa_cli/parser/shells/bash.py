"""bash, from 3.2, the one of macOS.

readline replaces the word from its last break or open quote on (``COMP_WORDBREAKS``), and passes
this part as ``$2``.  After an open quote, a replacement that starts with the same quote replaces it
too, and one that ends with it is not given another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_cli.parser.shells.posix import insertions, read_line, read_word
from awa_cli.parser.shells.words import Word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from awa_cli.parser.shells.words import Candidate, Line

__all__ = ["FILE", "SCRIPT", "read", "write"]

FILE: Final = "awa.bash"
# The first line of the reply says how to end a word.  compopt is missing in bash 3.2, which then
# offers files where no name fits.
SCRIPT: Final = r"""
_awa_completion() {
    local program=$1 reply line
    case $program in '~/'*) program=$HOME/${program#'~/'} ;; esac
    COMPREPLY=()
    reply=$(_AWA_COMPLETE=bash _AWA_LINE="${COMP_LINE:0:$COMP_POINT}" _AWA_WORD="$2" \
        "$program" 2>/dev/null </dev/null) || return 0
    while IFS= read -r line; do
        case $line in
            =files | =space) ;;
            =none) type compopt >/dev/null 2>&1 && compopt +o default ;;
            =open) type compopt >/dev/null 2>&1 && compopt -o nospace ;;
            *) COMPREPLY[${#COMPREPLY[@]}]=$line ;;
        esac
    done <<< "$reply"
    return 0
}

complete -o default -F _awa_completion awa
"""


def read(env: Mapping[str, str]) -> Line:
    """Read the line up to the cursor, and what of its word readline keeps."""
    line = read_line(env.get("_AWA_LINE", ""))
    replaced = env.get("_AWA_WORD", "")
    if line.word.raw.endswith(replaced):
        start = line.word.raw[: len(line.word.raw) - len(replaced)]
        line.kept = read_word(start) if start else Word()
    return line


def write(line: Line, found: Sequence[Candidate], env: Mapping[str, str]) -> list[str]:  # noqa: ARG001 - the same for all shells
    """Write what readline inserts, and shows in its list."""
    quote = line.kept.quote[-1:]
    return [f"{quote}{text}{quote}" for text, _ in insertions(line, found)]
