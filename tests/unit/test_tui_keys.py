"""Keys of the monitor in the config file."""

from __future__ import annotations

import pytest

from awa_cli.database.config import read_config
from awa_cli.tui.keys import check_keys, known_ids
from awa_lib.errors import InvalidInput


def test_bindings_of_all_screens_have_ids() -> None:
    assert {"queue.pause", "go.jobs", "grid.down", "jobs.retry"} <= known_ids()


def test_a_key_for_nothing_is_refused_with_the_nearest_name(config) -> None:
    config.parent.mkdir(parents=True)
    config.write_text('[tui.keys]\n"queue.pauze" = "P"\n')

    with pytest.raises(InvalidInput) as caught:
        check_keys(read_config().tui.keys, known_ids())
    assert "did you mean: queue.pause" == caught.value.hint


@pytest.mark.parametrize("text", ["tui = 3", "[tui]\nthem = 'x'", "[tui.keys]\na = 3"])
def test_a_bad_table_of_the_monitor_is_refused(config, text) -> None:
    config.parent.mkdir(parents=True)
    config.write_text(text)

    with pytest.raises(InvalidInput):
        read_config()
