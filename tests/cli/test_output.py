"""Ages, spans, cells, JSON values and the widths of tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.documents.encoding import encode
from awa_cli.errors import explain
from awa_cli.filters.values import read_duration, read_queue
from awa_cli.terminal.colors import Paint
from awa_cli.terminal.tables import table_lines
from awa_cli.views.columns import Column
from awa_cli.views.widths import cells, fit
from awa_cli.views.words import age, clean, span
from awa_lib.errors import InvalidInput

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (61, "1m1s"), (600, "10m"), (601, "10m"),
        (3600, "1h"), (9000, "2h30m"), (36000, "10h"), (86400, "1d"), (90000, "1d1h"),
        (8640000, "100d"),
    ],
)  # fmt: skip
def test_span(seconds, text) -> None:
    assert span(seconds) == text


def test_age_looks_both_ways(monkeypatch) -> None:
    monkeypatch.setattr("awa_cli.views.words.now", lambda: NOW)

    assert age(None) is None
    assert age(NOW) == "now"
    assert age(NOW - timedelta(seconds=90)) == "1m30s ago"
    assert age(NOW + timedelta(days=3)) == "in 3d"


def test_encode_keeps_order_and_writes_times_as_published() -> None:
    @dataclass(frozen=True, slots=True)
    class Row:
        b: int
        a: object

    def at(micros: int) -> datetime:
        return datetime(2026, 1, 1, 1, 2, 3, micros, tzinfo=timezone(timedelta(hours=1)))

    encoded = encode(Row(1, [at(0), at(5000), at(5), {"x": None}]))

    assert list(encoded) == ["b", "a"]
    assert encoded["a"] == [
        "2026-01-01T00:02:03Z", "2026-01-01T00:02:03.005Z", "2026-01-01T00:02:03.000005Z",
        {"x": None},
    ]  # fmt: skip


@given(st.text())
def test_cells_are_one_printable_line(text) -> None:
    assert clean(text).isprintable()


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 1, 6, 12]), st.booleans(), st.text(max_size=40)),
        min_size=1,
    ),
    st.integers(20, 200),
)
def test_tables_fit_and_cut_no_column_that_must_stay_whole(given_columns, room) -> None:
    columns = [
        Column(f"c{number}", f"C{number}", lambda row, n=number: row[n], width=width, right=right)
        for number, (width, right, _) in enumerate(given_columns)
    ]
    row = [text for _, _, text in given_columns]

    lines = table_lines([row], columns, Paint(color=False), room)
    whole = table_lines([row], columns, Paint(color=False))

    assert whole[1].split() == " ".join(map(clean, row)).split()
    for line in [*lines, *whole]:
        assert line == line.rstrip() or any(clean(text).endswith(" ") for text in row)
    kept = [int(title[1:]) for title in lines[0].replace("…", " ").split() if title[1:]]
    if len(kept) > 1:
        assert max(map(cells, lines)) <= room
    assert 0 in kept
    for number in kept:
        if columns[number].width is None:
            assert clean(row[number]).strip() in lines[1]


@given(
    st.lists(st.tuples(st.integers(1, 300), st.none() | st.integers(1, 20)), min_size=1),
    st.integers(1, 400),
)
def test_fit_fills_the_room_and_never_cuts_what_must_stay(columns, room) -> None:
    wanted = [width for width, _ in columns]
    least = [low for _, low in columns]

    widths = fit(wanted, least, room)

    floor = [w if low is None else min(w, low) for w, low in columns]
    assert all(low <= w <= most for low, w, most in zip(floor, widths, wanted, strict=True))
    assert sum(widths) == max(sum(floor), min(sum(wanted), room))


@given(st.text())
def test_any_text_is_a_duration_or_refused(text) -> None:
    try:
        length = read_duration(text, "--in")
    except InvalidInput:
        return
    assert length >= timedelta(0)


def test_durations() -> None:
    assert read_duration("90", "--in") == timedelta(seconds=90)
    assert read_duration("1.5s", "--in") == timedelta(seconds=1.5)
    assert read_duration("1w2d3h4m5s6ms", "--in") == timedelta(
        weeks=1, days=2, hours=3, minutes=4, seconds=5, milliseconds=6
    )


def test_queue_settings() -> None:
    assert read_queue("email") == ("email", None)
    assert read_queue("email=20") == ("email", 20)
    assert read_queue("a=b=3") == ("a=b", 3)
    for wrong in ("email=", "email=0", "email=-1", "email=x", "=3", "email=1000000"):
        with pytest.raises(InvalidInput):
            read_queue(wrong)


def test_three_lines() -> None:
    assert explain("a", "b", "c", color=False) == "error: a\n  why: b\n   do: c"
    assert explain("a", color=False) == "error: a"
    assert "\x1b[31merror:\x1b[0m a" in explain("a", color=True)
