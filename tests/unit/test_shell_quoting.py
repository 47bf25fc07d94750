"""What is written for a shell stands for the name, after all that may have been typed before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from awa_cli.parser.shells import SHELLS, bash, fish, powershell, shell_module, zsh
from awa_cli.parser.shells.posix import read_line, read_word
from awa_cli.parser.shells.words import Candidate, common_start

ROOT = Path(__file__).resolve().parents[2]
ODD = st.sampled_from(
    [*" \t\n\r\x1b\x7f\x85\x9b$`!*?~\\'\"-#:=;&|<>(){}[],%^@/.", "é", "名", "ש", "\u202e", "\u2028",
     "\u2018", "\u2019", "\u201a", "\u201b", "\u201c", "\u201d", "\u201e", "\u2013", "\U0001f600",
     "\U000e0041", "$(", "${", "\\n", "''", '""', "0", "7", "a", "--", "1kb"]
)  # fmt: skip
NAMES = st.lists(ODD | st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10).map(
    "".join
)
# What is typed before: an open quote, and in bash the start of a word up to a break.
KEPT = st.sampled_from(["", "'", '"', "$'", "a:", "a'b c'=", "\"a\"$'\\t'@", "a\\ b:"])


def written(name: str, kept: str, *more: str) -> list[str]:
    """Return the whole words that bash has in its line, one for each name."""
    start = read_word(kept).value if kept else ""
    line = bash.read({"_AWA_LINE": f"awa job list --queue {kept}", "_AWA_WORD": ""})
    assert line.kept.raw == kept
    opened = kept[:-1] if line.kept.quote else kept
    return [
        opened + one for one in bash.write(line, [Candidate(start + n) for n in (name, *more)], {})
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@settings(max_examples=20)
@given(st.lists(st.tuples(NAMES, KEPT), min_size=1, max_size=40))
def test_the_shell_reads_the_name(shell, pairs) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    words = [written(name, kept)[0] for name, kept in pairs]
    assert all(word.isprintable() for word in words)
    done = subprocess.run(
        [shell, *(["-f"] if shell == "zsh" else ["--norc"]), "-c",
         "printf '%s\\0' " + " ".join(words)],
        capture_output=True, timeout=60, check=True, env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
    )  # fmt: skip
    read = [os.fsdecode(one) for one in done.stdout.split(b"\0")[:-1]]
    assert read == [(read_word(kept).value if kept else "") + name for name, kept in pairs]


@given(NAMES, NAMES, NAMES, KEPT)
@example("ot", "\u202e", "\u202d", "")
@example("a", "\t", "\n", "'")
@example("", "it's", "it", "$'")
def test_what_is_common_is_read_as_the_start_of_both(begun, one, other, kept) -> None:
    """The shell inserts it, and the next Tab starts from there."""
    start = read_word(kept).value if kept else ""
    names = [begun + one, begun + other]
    words = written(names[0], kept, names[1])
    inserted = read_word(common_start(words)).value

    assert [read_word(word).value for word in words] == [start + name for name in names]
    assert [read_word(word).quote for word in words] == ["", ""]
    assert common_start(names).startswith(inserted.removeprefix(start))
    assert inserted.removeprefix(start).startswith(begun)


@given(st.text())
@example("awa a 'b")
@example("awa <(x) $(a 'b' ) `c d` e")
@example('awa a 2>&1 &>x "$Q" $\'\\')
def test_whatever_is_typed_is_read(text) -> None:
    for name in SHELLS:
        line = shell_module(name).read({"_AWA_LINE": text, "_AWA_WORD": "x", "_AWA_KEPT": "'"})
        assert isinstance(line.args, list)


@pytest.mark.parametrize(
    ("line", "args", "word"),
    [
        ("awa a b", ["a"], "b"),
        ("awa a b ", ["a", "b"], ""),
        ("awa 'a b' \"c'd\" e\\ f $'g\\th' i", ["a b", "c'd", "e f", "g\th"], "i"),
        ("awa a 2>/dev/null b >c <<<d e", ["a", "b"], "e"),
        ("awa a $(b c) `d e` f", ["a", "$(b c)", "`d e`"], "f"),
        ("x; awa a && awa b c", ["b"], "c"),
        ("awa --a='b c", [], "--a=b c"),
    ],
)
def test_words_of_posix_shells(line, args, word) -> None:
    read = read_line(line)
    assert (read.args, read.word.value) == (args, word)


@pytest.mark.parametrize("kept", ["$Q:", "`x`:", "*:", "{a,b}:", "~/:", '"$Q":', "!!:"])
def test_nothing_is_offered_after_what_the_shell_would_change(kept) -> None:
    line = bash.read({"_AWA_LINE": f"awa q {kept}", "_AWA_WORD": ""})
    assert bash.write(line, [Candidate(line.word.value + "x")], {}) == []


@pytest.mark.parametrize(
    ("line", "args", "word"),
    [
        ("awa 'a\\'b' \"c\\$d\" e\\ f\\n g", ["a'b", "c$d", "e f\n"], "g"),
        ("awa a >b c 'd \\", ["a", "c"], "d "),
        ("awa \\x41\\u00e9\\", [], "Aé"),
    ],
)
def test_words_of_fish(line, args, word) -> None:
    read = fish.read({"_AWA_LINE": line})
    assert (read.args, read.word.value) == (args, word)


def test_fish_is_given_no_name_that_it_would_write_raw() -> None:
    line = fish.read({"_AWA_LINE": "awa q "})
    names = ["a b", "a\tb", "a\nb", "a\x1bb", "\u202e", "", "é"]
    assert fish.write(line, [Candidate(name) for name in names], {}) == ["a b", "é"]


def test_zsh_quotes_a_word_that_is_an_alias() -> None:
    line = zsh.read({"_AWA_LINE": "awa q ", "_AWA_KEPT": ""})
    found = [Candidate("G"), Candidate("H")]
    assert zsh.write(line, found, {"_AWA_ALIASES": "G\nX"}) == ["'G'\tG", "H\tH"]


def test_descriptions_are_one_clean_line() -> None:
    line = zsh.read({"_AWA_LINE": "awa q ", "_AWA_KEPT": ""})
    found = [Candidate("7", about="send\n\x1b[31m \u202e" + "x" * 100)]
    (row,) = zsh.write(line, found, {})
    assert row.isprintable() is False  # the tab before what is shown
    assert row.replace("\t", "").isprintable()
    assert len(row) < 100


def evaluated(text: str) -> str:
    """Read a string of PowerShell by the rules of its language, or a plain word."""
    quotes, doubles = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'
    if text[0] in quotes:
        assert text[-1] in quotes
        inside = text[1:-1]
        rest = re.sub(f"[{quotes}]([{quotes}])", "", inside)
        assert not set(rest) & set(quotes)
        return re.sub(f"[{quotes}]([{quotes}])", r"\1", inside)
    if text[0] not in doubles:
        assert re.fullmatch(r"[A-Za-z_][\w./-]*|0|[1-9]\d*|--?[a-z-]+", text, re.ASCII)
        return text
    assert text[-1] in doubles
    out, inside = "", text[1:-1]
    while inside:
        if found := re.match(r"\$\(\[char\]::ConvertFromUtf32\((\d+)\)\)", inside):
            out, inside = out + chr(int(found[1])), inside[found.end() :]
        elif inside[0] == "`":
            assert inside[1] in doubles + "`$"
            out, inside = out + inside[1], inside[2:]
        else:
            assert inside[0] not in doubles + "$"
            out, inside = out + inside[0], inside[1:]
    return out


@given(st.lists(NAMES, min_size=1, max_size=3))
@example(["it\u2019s", "a\u201d$(x)`", "1kb"])
@example(["\x1b[31m", "$a\n"])
def test_powershell_reads_the_name(names) -> None:
    line = powershell.read({"_AWA_LINE": "awa job list --queue "})
    replies = powershell.write(line, list(map(Candidate, names)), {"_AWA_PASSING": "Standard"})
    told = [json.loads(one) for one in replies]

    assert all(one.isascii() for one in replies)
    assert [evaluated(one["text"]) for one in told] == names
    assert all(one[key].isprintable() and one[key] for one in told for key in one)


@given(NAMES)
def test_powershell_text_can_be_completed_again(name) -> None:
    assume(name.isprintable())
    (reply,) = powershell.write(
        powershell.read({"_AWA_LINE": "awa q "}), [Candidate(name)], {"_AWA_PASSING": "Windows"}
    )
    line = powershell.read({"_AWA_LINE": f"awa q {json.loads(reply)['text']}"})
    assert (line.args, line.word.value) == (["q"], name)


def test_an_older_powershell_is_given_no_name_that_it_would_change() -> None:
    line = powershell.read({"_AWA_LINE": "awa job list --queue="})
    found = [Candidate(one) for one in ('a"b', "", "a b\\", "a\\", "a b")]
    for passing in ("", "Legacy"):
        told = powershell.write(line, found, {"_AWA_PASSING": passing})
        assert [json.loads(one)["text"] for one in told] == ["'a\\'", "'a b'"]


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="pwsh is not installed")
def test_a_real_powershell_takes_the_script(tmp_path) -> None:
    names = ["a b", "it's", "\u2019", "$(x)", "`n", "\x1b[31m", "\u202e", 'q"q', "1kb", "-x", "é"]
    line = powershell.read({"_AWA_LINE": "awa job list --queue "})
    replies = powershell.write(line, list(map(Candidate, names)), {"_AWA_PASSING": "Standard"})
    (tmp_path / "reply").write_text("=space\n" + "".join(one + "\n" for one in replies))
    stub = tmp_path / "awa"
    stub.write_text(f'#!/bin/sh\n[ -n "$_AWA_COMPLETE" ] && exec cat {tmp_path}/reply\n'
                    f"printf '%s\\0' \"$4\" >>{tmp_path}/given\n")  # fmt: skip
    stub.chmod(0o755)
    probe = tmp_path / "probe.ps1"
    probe.write_text(
        f". '{ROOT / 'completions' / 'awa.ps1'}'\n"
        "$line = 'awa job list --queue '\n"
        "$found = TabExpansion2 -inputScript $line -cursorColumn $line.Length\n"
        "foreach ($one in $found.CompletionMatches) {\n"
        "    Invoke-Expression ($line + $one.CompletionText)\n"
        "}\n"
    )
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    subprocess.run(
        ["pwsh", "-NoProfile", "-NonInteractive", "-File", str(probe)], env=env, check=True,
        timeout=120,
    )  # fmt: skip
    assert (tmp_path / "given").read_bytes().decode().split("\0")[:-1] == names
