"""The proxy that cuts a connection in the middle of an answer does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fix_proxy import Proxy


@pytest.fixture
def conn(proxied_url: str, database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as direct:
        direct.execute("CREATE TABLE public.wire (n int)")
    with psycopg.connect(proxied_url, autocommit=True) as one:
        yield one


def _rows(database_url: str) -> int:
    with psycopg.connect(database_url) as direct:
        (count,) = direct.execute("SELECT count(*) FROM public.wire").fetchone() or (-1,)
    return count


@pytest.mark.parametrize("part", ["nothing", "half"])
def test_commit_is_done_and_its_answer_is_lost(
    conn: psycopg.Connection[Any], proxy: Proxy, database_url: str, part: str
) -> None:
    proxy.cut_after(b"COMMIT", part)
    with pytest.raises(psycopg.OperationalError), conn.transaction():
        conn.execute("INSERT INTO public.wire VALUES (%s)", [1])

    assert proxy.cuts == 1
    assert _rows(database_url) == 1


@pytest.mark.parametrize("prepare", [False, True])
def test_a_statement_is_known_by_its_text_also_when_it_is_prepared(
    conn: psycopg.Connection[Any], proxy: Proxy, database_url: str, prepare: bool
) -> None:
    text = "INSERT INTO public.wire SELECT n FROM generate_series(%s::int, 3) AS n RETURNING n"
    conn.execute(text, [1], prepare=prepare)
    conn.execute("SELECT 1", prepare=prepare)
    proxy.cut_after(b"RETURNING n", "rows")
    with pytest.raises(psycopg.OperationalError):
        conn.execute(text, [1], prepare=prepare)

    assert proxy.cuts == 1
    assert _rows(database_url) == 6
