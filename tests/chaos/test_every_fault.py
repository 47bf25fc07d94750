"""Chosen faults in turn, under load: each job ends as its handler decided.

``python -m tests.chaos`` plays all of them, alone and two at a time, as long as it is told to.
"""

from __future__ import annotations

import pytest
from faults import SHORT
from rounds import finish, play, running

pytestmark = pytest.mark.chaos


def test_faults_in_turn() -> None:
    with running(7, rate=150) as fleet:
        fleet.settled(20)
        for fault in SHORT:
            play(fleet, fault)
        problems = finish(fleet)
        print("\n".join([*fleet.notes, *problems[:50]]))
    assert problems == []
