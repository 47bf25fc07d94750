"""Charts and cells of the monitor: bars, resampling, widths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from awa_cli.tui.widgets.cells import cell
from awa_cli.tui.widgets.charts import bars, resample

VALUES = st.lists(st.none() | st.floats(0, 1e9), max_size=40)


@given(VALUES, st.integers(1, 8), st.booleans())
def test_bars_are_as_wide_as_values_and_as_high_as_asked(values, height, ascii_only) -> None:
    lines = bars(values, height, ascii_only=ascii_only)

    assert height == len(lines)
    assert {len(values)} == {len(line) for line in lines}
    assert not ascii_only or "".join(lines).isascii()


def test_the_highest_bar_is_full_and_a_small_one_is_not_nothing() -> None:
    assert ["█   ", "█▁ ▁"] == bars([1000, 1, None, 2], 2)
    assert ["#.  "] == bars([9.0, 0.1, 0.0, None], 1, ascii_only=True)


@given(VALUES, st.integers(1, 60))
def test_resampled_values_fill_the_width_and_keep_the_highest(values, width) -> None:
    found = resample(values, width)

    assert (width if values else 0) == len(found)
    assert max((v for v in values if v), default=0) == max((v for v in found if v), default=0)


@given(st.text(max_size=30), st.integers(0, 20), st.booleans())
def test_a_cell_has_its_width(text, width, right) -> None:
    from rich.cells import cell_len

    assert width == cell_len(cell(text, width, right=right))
