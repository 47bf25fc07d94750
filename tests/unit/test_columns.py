"""The keys of columns: links, addresses and saved layouts name columns by them."""

from __future__ import annotations

import pytest

from awa_cli.views import columns

TABLES = {name: table for name, table in vars(columns).items() if isinstance(table, tuple)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_each_column_of_a_table_has_a_key_of_its_own(table) -> None:
    keys = [column.key for column in table]
    assert len(set(keys)) == len(keys)
    assert all(key.isidentifier() and key.islower() for key in keys)
