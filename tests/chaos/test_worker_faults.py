"""The short form of the faults of workers, poison, clocks and deploys: one round of chosen ones."""

from __future__ import annotations

import faults_of_clocks as clocks
import faults_of_deploys as deploys
import faults_of_poison as poison
import faults_of_workers as workers
import pytest
from rounds import finish, play, running

pytestmark = pytest.mark.chaos

CHOSEN = [
    workers.kill_9_of_the_leader,
    workers.kill_9_of_a_child,
    workers.kill_9_of_a_supervisor,
    workers.sigterm_amid_ends,
    poison.jobs_that_end_their_process,
    poison.jobs_that_fail_badly,
    poison.a_worker_whose_log_raises,
    deploys.a_rolling_restart,
]


@pytest.mark.timeout(300)
def test_chosen_faults_of_workers_in_turn() -> None:
    of_clocks = [] if clocks.LIBRARY is None else [clocks.a_clock_an_hour_behind]
    with running(11, rate=100) as fleet:
        fleet.settled(20)
        for fault in (*CHOSEN, *of_clocks):
            play(fleet, fault)
        problems = finish(fleet)
        print("\n".join([*fleet.notes, *problems[:50]]))
    assert problems == []
