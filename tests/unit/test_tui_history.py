"""The history of the monitor: back, forward, out, and its limit."""

from __future__ import annotations

from awa_cli.tui.history import History, Visit


def test_the_history_goes_back_forward_and_out() -> None:
    history = History(Visit("overview"))
    jobs = history.go(Visit("jobs"))
    job = history.go(Visit("job", 42, jobs))

    assert ["jobs", "job"] == [visit.page_id for visit in job.path()]
    assert jobs is history.back()
    assert job is history.forward()
    assert None is history.forward()
    assert jobs is history.out()
    assert None is history.out()
    history.go(Visit("queues"))
    assert None is history.forward()


def test_a_hundred_visits_are_kept() -> None:
    history = History(Visit("overview"))
    for number in range(300):
        history.go(Visit("job", number))

    assert (100, 299) == (len(history.visits), history.current.subject)
