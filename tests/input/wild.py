"""What the parsers are fed: valid texts with wild pieces in them, and wild text."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

# Digits of other scripts, more digits than Python turns into a number, ends of strings and of
# comments, invisible and half characters, and words that parsers of numbers know.
PIECES = [
    "", " ", "\t", "\n", "\r\n", "\x00", "\x1b[31m", "\x7f", "\xa0", "²", "٣", "é", "名", "\u2028",
    "\u202e", "\ufeff", "\ud800", "\udcff", "\U0010ffff", "9" * 5_000, "9" * 30, "0", "-0", "-1",
    "1e400", "1e-400", "NaN", "Infinity", "inf", "0x10", "1_000", "null", "true", "'", '"', "\\",
    "\\u0000", "\\ud800", "%", "%00", "%ff", "%s", "{", "}", "{}", "[", "]", "(", ")", "<", ">", "*",
    "/", "//", "..", ".", ",", ":", ";", "=", "==", "@", "#", "$", "$1", "&", "|", "?", "!", "~", "-",
    "--", "+", "^", "`", "[" * 3_000, "{" * 3_000, "(" * 3_000, '{"a":' * 3_000, "a.b.c", "-- x",
    "/* x", "; DROP TABLE awa.jobs_hot", "9223372036854775807", "9223372036854775808", "10000-01-01",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "24:00:00", "&a [*a]", "!!python/name:x",
]  # fmt: skip
LETTERS = st.characters()
WILD = st.text(LETTERS, max_size=60) | st.sampled_from(PIECES)
UTF8 = st.text(st.characters(codec="utf-8"), max_size=60)
EDITS = st.tuples(
    st.floats(0, 1), st.sampled_from(["put", "replace", "cut", "double"]), WILD, st.integers(0, 9)
)


def mutated(*seeds: str) -> st.SearchStrategy[str]:
    """A seed with up to three edits, or wild text."""
    edited = st.builds(_edit, st.sampled_from(seeds), st.lists(EDITS, max_size=3))
    return edited | WILD | st.sampled_from(seeds)


def _edit(text: str, edits: list[tuple[float, str, str, int]]) -> str:
    for place, how, piece, length in edits:
        at = round(place * len(text))
        head, middle, tail = text[:at], text[at : at + length], text[at + length :]
        text = {
            "put": head + piece + middle + tail,
            "replace": head + piece + tail,
            "cut": head + tail,
            "double": head + middle + middle + tail,
        }[how]
    return text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(LETTERS, max_size=20)
    | st.sampled_from([2**63, -(2**63) - 1, 10**400, 1.7976931348623157e308, "\x00", "\ud800"]),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=8), some, max_size=3)
    ),
    max_leaves=8,
)
JSON_TEXT = mutated(
    "{}", '{"to": "a@example.org", "n": [1, 2.5, null, true]}', '{"a": 1, "a": 2}', '"\\u00e9"',
    "-1.5E+300", "[[[]]]", "12345678901234567890",
) | JSON.map(json.dumps)  # fmt: skip
# As PostgreSQL keeps it: every number is exact and finite, no NUL, no half characters.
STORED = st.recursive(
    st.sampled_from(["null", "true", "0", "-1", "1.50", "1e400", "-1e400", "1" * 5_000, "1e-400",
                     '"x"', '""', '"2026-01-01T00:00:00Z"', '"+00:00"', '"\\u202e\\u001b[31m"'])
    | st.integers().map(str)
    | UTF8.filter(lambda text: "\x00" not in text).map(json.dumps),
    lambda some: (
        st.lists(some, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(
            UTF8.filter(lambda text: "\x00" not in text).map(json.dumps)
            | st.sampled_from([f'"{name}"' for name in (
                "attempt", "error", "at", "terminal", "percent", "message", "queue", "config",
                "in_flight", "max_workers", "_awa_traceparent", "_awa_callbacks", "result", "id",
                "_awa_callback_result", "overflow_held", "_awa_concurrency_key", "mode")]),
            some, max_size=5,
        ).map(lambda items: "{" + ",".join(f"{k}:{v}" for k, v in items.items()) + "}")
    ),
    max_leaves=10,
) | st.sampled_from(["[" * 1_500 + "]" * 1_500, '{"a":' * 1_500 + "1" + "}" * 1_500])  # fmt: skip


def plain(value: Any) -> str:
    """Show an input in a line."""
    text = ascii(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
