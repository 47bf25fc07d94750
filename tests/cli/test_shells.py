"""A name that completes is the argument that arrives, whatever it holds, in real shells.

``SHELL_NAMES=1000 pytest tests/cli/test_shells.py -n 0`` completes that many names in each shell.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count

import psycopg
import pytest
from fix_shells import ShellAtTerminal
from fix_wait import eventually
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

# A group of names is read from the database at once.  Each has a first character of its own.
GROUP = 10
EXAMPLES = max(1, int(os.environ.get("SHELL_NAMES") or 30) // GROUP)
NASTY = [
    " ", "\t", "\n", "\r", "\x1b", "\x07", "\x7f", "\x9b", "$", "`", "!", "*", "?", "~", "\\", "'",
    '"', "-", "#", ":", "=", ";", "&", "|", "<", ">", "(", ")", "{", "}", "[", "]", ",", "%", "^",
    "@", "/", ".", "$(touch pwned)", "`touch pwned`", "; touch pwned", "\n touch pwned\n", "!!",
    "!$", "${HOME}", "$HOME", "~/", "=awa", "\\n", "\\'", "''", '""', "\u2019", "\u201d", "\u202e",
    "\u2028", "\u200b", "\xa0", "é", "名", "שם", "\u0301", "\U0001f600", "\ue000", "\x1b]2;pwned\x07",
    "a", "Z", "0", "_", "-x", "--", "=files", " -- ", "{a,b}", "[a-z]", ">pwned", "&&", "||",
]  # fmt: skip
LETTERS = st.characters(codec="utf-8", exclude_characters="\x00")
NAMES = st.lists(st.sampled_from(NASTY) | LETTERS, min_size=1, max_size=8).map("".join)


def typable(text: str) -> str:
    """Return the start of a text that is typed with plain keys."""
    return re.match(r"(?:[ -~]|[^\W\d_])*", text)[0]


GROUPS = st.lists(
    NAMES.filter(lambda one: typable(one[0]) != ""),
    min_size=GROUP, max_size=GROUP, unique_by=lambda one: one[0],
)  # fmt: skip


def bare(text: str) -> str:
    return (
        re.sub(r"([^\w])", r"\\\1", text, flags=re.ASCII)
        if text.isascii()
        else re.sub(r"([ -/:-@\[-^`{-~])", r"\\\1", text)
    )


def in_single(text: str, shell: str) -> str:
    inside = re.sub(r"(['\\])", r"\\\1", text) if shell == "fish" else text.replace("'", "'\\''")
    return f"'{inside}"


def in_double(text: str, shell: str) -> str:
    escaped = r'(["\\$])' if shell == "fish" else r'([`"\\$])'
    return '"' + re.sub(escaped, r"\\\1", text)


def typed(shell: str, text: str, way: str) -> str:
    """Return the keys for the start of a name."""
    if way == "single":
        return in_single(text, shell)
    if way == "double" and ("!" not in text or shell == "fish"):
        return in_double(text, shell)
    if way == "dollar" and shell != "fish" and not set("'\\!") & set(text):
        return f"$'{text}"
    return bare(text)


WAYS = ["bare", "single", "double", "dollar"]
LINES: dict[str, tuple[list[str], Callable[[str], list[str]]]] = {
    "option": (["job", "list", "--queue", " "], lambda name: ["job", "list", "--queue", name]),
    "equals": (["job", "list", "--queue="], lambda name: ["job", "list", f"--queue={name}"]),
    "after": (["queue", "show", "--", " "], lambda name: ["queue", "show", "--", name]),
}


def offered(shell: str, name: str, start: str) -> bool:
    """Return whether the shell offers this name at all; see parser.shells.fish."""
    return shell != "fish" or (name != "" and name.isprintable() and "*" not in start)


OTHERWISE = {
    "bash": "COMP_WORDBREAKS=${COMP_WORDBREAKS//[:=]/}",
    "zsh": "setopt rc_quotes extended_glob magic_equal_subst complete_in_word interactive_comments",
}


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request, tmp_path) -> Iterator[ShellAtTerminal]:
    name, _, special = request.param.partition(" ")
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    more = [OTHERWISE[name]] if special else []
    at_terminal = ShellAtTerminal(name, tmp_path / "home", *more)
    yield at_terminal
    at_terminal.close()


@pytest.fixture
def known(shell, database_url, tmp_path) -> Callable[..., None]:
    """Make these the queues of the database, and let completion know them."""
    number = count()

    def make(*names: str) -> None:
        with psycopg.connect(database_url) as conn:
            conn.execute("DELETE FROM awa.queue_meta")
            conn.cursor().executemany(
                "INSERT INTO awa.queue_meta (queue) VALUES (%s)", [(name,) for name in names]
            )
        env = shell.ask_from(database_url, tmp_path / f"cache{next(number)}")
        env |= {"_AWA_COMPLETE": "bash", "_AWA_LINE": "awa job list --queue "}

        def answered() -> bool:
            done = subprocess.run(
                [sys.executable, "-m", "awa_cli"], env=env, capture_output=True, timeout=30
            )
            return done.stdout.count(b"\n") >= 1 + len(names)

        assert eventually(answered)

    return make


def complete(shell: ShellAtTerminal, name: str, start: str, line: str, way: str) -> None:
    words, arrive = LINES[line]
    keys = typed(shell.shell, start, way)
    if shell.shell == "fish" and (not offered("fish", name, start) or name[-1] in "/=@:.,-"):
        keys = bare(start)
    before = " ".join(["awa", *words]).replace("  ", " ")
    given = shell.enter(f"{before}{keys}\t")

    wanted = name if offered(shell.shell, name, start) else start
    assert (given, before + keys) == (arrive(wanted), before + keys)


@pytest.mark.parametrize(
    "shell", ["bash", "bash without breaks", "zsh", "zsh with options", "fish"], indirect=True
)
def test_a_name_arrives_as_it_is(shell, known, tmp_path, request) -> None:
    few = " " in request.node.callspec.params["shell"] and EXAMPLES == 3

    @given(GROUPS, st.data())
    @settings(
        max_examples=1 if few else EXAMPLES, derandomize=True, database=None,
        phases=[Phase.generate],  # a shell that has failed is of no more use
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def play(names, data) -> None:
        known(*names)
        for name in names:
            most = len(typable(name))
            start = name[: data.draw(st.integers(1, most))]
            line, way = data.draw(st.sampled_from(list(LINES))), data.draw(st.sampled_from(WAYS))
            complete(shell, name, start, line, way)

    play()
    assert not list(tmp_path.rglob("pwned"))


# Names whose start cannot be typed with plain keys.
ALONE = ["", "\n\x1b]2;pwned\x07", "\u202e!!"]


def test_a_name_that_is_the_only_one_needs_no_start(shell, known) -> None:
    for name in ALONE:
        known(name)
        wanted = [name] if offered(shell.shell, name, "") else []
        assert shell.enter("awa job list --queue \t") == ["job", "list", "--queue", *wanted]


def test_a_name_is_never_taken_for_an_option(shell, known) -> None:
    known("--all")
    assert shell.enter("awa queue pause \t") == ["queue", "pause"]
    assert shell.enter("awa queue pause -- \t") == ["queue", "pause", "--", "--all"]
    assert shell.enter("awa queue pause -- --a\t") == ["queue", "pause", "--", "--all"]
    assert shell.enter("awa job list --queue --a\t") == ["job", "list", "--queue", "--all"]
    assert shell.enter("awa job list --queue=-\t") == ["job", "list", "--queue=--all"]


def test_a_common_start_is_completed_and_goes_on(shell, known) -> None:
    """Between the two Tabs, the word is what the shell has inserted for both names."""
    known("it's; a $x", "it's; b $x", "ot\x1b]2;pwned\x07a", "ot\x1b]2;pwned\x07b")
    assert shell.enter("awa job list --queue i\ta\t") == ["job", "list", "--queue", "it's; a $x"]
    assert shell.enter("awa queue show it\\'\tb\t") == ["queue", "show", "it's; b $x"]
    if shell.shell != "fish":
        wanted = ["job", "list", "--queue", "ot\x1b]2;pwned\x07b"]
        assert shell.enter("awa job list --queue o\tb\t") == wanted


def test_nothing_raw_reaches_the_terminal(shell, known, database_url, add) -> None:
    wild = "\x1b]2;pwned\x07 \x9b31m\u202e\u2066\r\n"
    job = add("failed", kind=f"send {wild}")
    add("failed", kind=f"send {wild}")
    known(f"one {wild} a", f"one {wild} b", f"two {wild}")
    shell.enter("awa job list --queue one\t\t\t\x15awa")
    shell.enter("awa job list --queue two\t\t\x15awa")
    shell.enter(f"awa job show {str(job)[:-1]}\t\t\x15awa")

    assert b"pwned" in shell.shown  # as text
    raw = [b"\x1b]2;pwned", b"\xc2\x9b", "\u202e".encode(), "\u2066".encode()]
    assert [one for one in raw if one in shell.shown] == []


def test_words_before_the_last_are_read_as_the_shell_reads_them(shell, known) -> None:
    known("the one")
    for line in (
        "awa --quiet job list --state 'failed' 2>/dev/null --kind \"a\"\\ --b --queue=\t",
        "awa job list --kind $(echo a b) --queue 't\t",
        "true; awa job list --queue the\\ \t",
    ):
        assert shell.enter(line)[-1].removeprefix("--queue=") == "the one", line


def test_files_are_offered_where_a_file_is_wanted(shell, known, tmp_path) -> None:
    known("a queue")
    (tmp_path / "jobs and more.json").touch()
    given = shell.enter(f"awa job enqueue --ndjson {tmp_path}/jo\t")
    assert given == ["job", "enqueue", "--ndjson", f"{tmp_path}/jobs and more.json"]
    assert shell.enter(f"awa queue show {tmp_path}/jo\t") == ["queue", "show", f"{tmp_path}/jo"]
    assert shell.enter(f"awa job list >{tmp_path}/jo\t") == ["job", "list"]
    assert not (tmp_path / "jo").exists()


@pytest.mark.parametrize("shell", ["zsh"], indirect=True)
def test_a_global_alias_of_zsh_is_not_expanded(known, shell) -> None:
    known("LL")
    os.write(shell._terminal, b"alias -g LL='; touch pwned'\r")
    assert shell._hear() == "prompt"
    assert shell.enter("awa job list --queue L\t") == ["job", "list", "--queue", "LL"]
