"""``awa dev``: up, status, url, psql, down, reset, each as a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_cli import Ran
from fix_embedded import is_gone, one
from fix_wait import eventually

from awa_lib.embedded import status


@pytest.fixture
def dev(process, place: Path) -> Callable[..., Ran]:
    """Run ``awa dev VERB -D PLACE …``."""

    def run(verb: str, *args: object, **how: object) -> Ran:
        return process("dev", verb, "-D", place, *args, **how)

    return run


def test_up_stays_up_and_prints_the_url_alone(dev, place) -> None:
    up = dev("up")

    assert up.status == 0
    assert up.out == status(place).url + "\n"
    assert "awa dev down --data-dir" in up.err
    assert one(up.out.strip(), "SELECT current_database()::text") == "awa"
    again, address = dev("up"), dev("url")
    assert (again.status, again.out) == (0, up.out)
    assert (address.out, address.err) == (up.out, "")


def test_status_is_a_table_for_people_and_a_document_for_scripts(dev, place) -> None:
    before = dev("status", "-o", "json").data
    dev("up")
    table, after = dev("status"), dev("status", "-o", "json").data

    assert (before["running"], before["version"], before["pid"]) == (False, None, None)
    assert (after["running"], after["kept"], after["data_dir"]) == (True, True, str(place))
    assert after["pid"] == status(place).pid
    assert f"up, process {after['pid']}" in table.out
    assert f"PostgreSQL {after['version']}" in table.out
    assert str(place) in table.out


def test_down_stops_it_and_keeps_the_data(dev, place) -> None:
    dev("up")

    down, again, address = dev("down"), dev("down"), dev("url")

    assert (down.status, down.out) == (0, "Stopped.\n")
    assert (again.status, again.out) == (0, "It was not running.\n")
    assert is_gone(place)
    assert (place / "pg" / "PG_VERSION").exists()
    assert (address.status, address.out) == (3, "")
    assert "is not running" in address.err
    assert f"awa dev up --data-dir {place}" in address.err


def test_psql_starts_a_server_that_is_down_and_holds_it(dev, place) -> None:
    ran = dev("psql", "--", "-XAtc", "SELECT 6 * 7")

    assert (ran.status, ran.out) == (0, "42\n")
    eventually(lambda: is_gone(place))


def test_psql_passes_its_status_on(dev) -> None:
    ran = dev("psql", "--", "-Xc", "SELECT nothing")

    assert ran.status == 1
    assert 'column "nothing" does not exist' in ran.err


def test_reset_does_nothing_without_a_terminal_or_yes(dev, place) -> None:
    dev("up")

    ran = dev("reset")

    assert (ran.status, ran.out) == (2, "")
    assert f"awa dev reset --yes --data-dir {place}" in ran.err
    assert status(place).running


def test_reset_with_yes_deletes_everything(dev, place) -> None:
    dev("up")

    ran, again = dev("reset", "--yes"), dev("reset", "--yes")

    assert (ran.status, ran.out) == (0, f"Deleted the data in {place}\n")
    assert (again.status, again.out) == (0, "There is no data.\n")
    assert not place.exists()


@pytest.mark.parametrize(("answer", "stays"), [("n\n", True), ("y\n", False)])
def test_reset_asks_at_a_terminal(dev, terminal, place, answer, stays) -> None:
    dev("up")

    ran = terminal("dev", "reset", "-D", place, columns=200, keys=answer)

    assert "for good? [y/N]" in ran.out
    assert status(place).running is stays
    assert place.exists() is stays
    assert ran.status == (1 if stays else 0)


def test_place_comes_from_an_embedded_url_too(process, place) -> None:
    url = f"embedded:{place}"

    by_variable = process("dev", "status", "-o", "json", url=url)
    by_option = process("dev", "status", "-o", "json", "--database-url", url)

    assert json.loads(by_variable.out)["data_dir"] == str(place)
    assert by_option.data == by_variable.data


def test_another_kind_of_url_is_refused(process) -> None:
    ran = process("dev", "up", "--database-url", "postgresql://localhost/app")

    assert (ran.status, ran.out) == (2, "")
    assert "only with embedded servers" in ran.err


def test_refusal_of_a_directory_reaches_the_terminal(dev, place) -> None:
    place.mkdir()
    (place / "thesis.tex").write_text("…")

    ran = dev("up")

    assert (ran.status, ran.out) == (3, "")
    assert "thesis.tex" in ran.err
    assert "embedded:PATH" in ran.err
