"""Statements that insert the nodes of a workflow stay small, whatever its args are."""

from __future__ import annotations

from awa_lib.enqueue.workflow_rows import Row, batches


def sizes(*lengths: int) -> list[int]:
    rows = [Row("task", None, args="x" * length) for length in lengths]
    return [len(batch) for batch in batches(rows)]


def test_many_small_rows_share_a_statement() -> None:
    assert sizes(*[2] * 12_000) == [5000, 5000, 2000]


def test_large_args_are_split_by_their_bytes() -> None:
    most = 16 << 20
    assert sizes(most, most, 1) == [1, 1, 1]
    assert sizes(9 << 20, 7 << 20, 1, 2 * most, 1, 1) == [2, 1, 1, 2]


def test_nothing_is_no_statement() -> None:
    assert sizes() == []
