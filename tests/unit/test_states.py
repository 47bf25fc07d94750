"""A state equals its name and its number."""

from __future__ import annotations

import pytest

from awa_lib import JobState
from awa_lib.states import STATES


@pytest.mark.parametrize("state", list(JobState))
def test_a_state_is_its_name_and_its_number(state: JobState) -> None:
    name = STATES[int(state)]
    assert state == name
    assert name == state
    assert not state != name
    assert state == int(state)
    assert not state != int(state)
    assert {name: 1}[state] == {state: 1}[name] == 1
    others = {*STATES} - {name}
    assert all(state != other and other != state and not state == other for other in others)
    assert state not in others
    assert state != "other"
    assert state is not None
    assert state != None  # noqa: E711 - the point
    assert STATES[state] == name
