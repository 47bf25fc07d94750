"""``AsyncClient.queue``: what is declared, and how it goes with the queues of ``start()``."""

from __future__ import annotations

from typing import Any

import pytest

import awa_lib as awa
from awa_lib.config.queues import QueueOptions, RateLimit, Retention
from awa_lib.config.workers import WorkerOptions


def client() -> awa.AsyncClient:
    made = awa.AsyncClient("postgresql:///nowhere")
    made.queue(
        "mail",
        concurrency=50,
        min_workers=5,
        weight=3,
        rate_limit=(20, 0),
        backoff=awa.fixed(7),
        deadline_seconds=60,
        retention={"failed_hours": 9},
        dead_letters=True,
    )
    made.queue("extra")
    return made


def built(queues: Any = None, used: tuple[str, ...] = ("default", "mail"), **options: Any) -> Any:
    found = WorkerOptions.build(queues, used, declared=client()._queues, **options)
    return {queue.name: queue for queue in found.queues}


MAIL = QueueOptions(
    "mail",
    max_workers=50,
    rate_limit=RateLimit(20.0, 20),
    backoff=awa.fixed(7),
    deadline_seconds=60.0,
    retention=Retention(failed_hours=9),
    dead_letters=True,
)


def test_declared_queues_and_those_of_handlers_are_worked() -> None:
    assert built() == {
        "mail": MAIL,
        "extra": QueueOptions("extra", max_workers=10),
        "default": QueueOptions("default", max_workers=10),
    }


@pytest.mark.parametrize("given", [("mail", 4), {"name": "mail", "max_workers": 4}])
def test_a_queue_of_the_list_keeps_what_is_declared(given: Any) -> None:
    found = built([given], ("mail",))

    assert list(found) == ["mail"]
    assert found["mail"].max_workers == 4
    assert found["mail"].rate_limit == MAIL.rate_limit
    assert found["mail"].backoff == MAIL.backoff


def test_what_is_given_in_the_list_wins_also_when_it_is_none() -> None:
    given = {"name": "mail", "deadline_seconds": None, "rate_limit": None, "dead_letters": False}
    found = built([given], ("mail",))["mail"]

    assert (found.max_workers, found.deadline_seconds, found.rate_limit) == (50, None, None)
    assert found.dead_letters is False


def test_a_queue_that_nobody_declared_needs_its_slots() -> None:
    with pytest.raises(ValueError, match="max_workers required"):
        built([{"name": "other"}], ())


def test_weighted_mode_takes_minimum_and_weight() -> None:
    found = built(global_max_workers=30)

    assert (found["mail"].max_workers, found["mail"].min_workers, found["mail"].weight) == (
        None,
        5,
        3,
    )
    assert (found["default"].min_workers, found["default"].weight) == (0, 1)
    given = built([{"name": "mail", "weight": 9}], ("mail",), global_max_workers=30)["mail"]
    assert (given.min_workers, given.weight, given.rate_limit) == (5, 9, MAIL.rate_limit)


def test_weighted_mode_without_a_declaration_needs_the_list() -> None:
    with pytest.raises(ValueError, match="weighted mode requires explicit queue configs"):
        WorkerOptions.build(None, ("default",), global_max_workers=30)


def test_a_later_declaration_replaces_the_earlier_one() -> None:
    made = client()
    made.queue("mail", concurrency=2)

    assert made._queues["mail"]["max_workers"] == 2
    assert made._queues["mail"]["rate_limit"] is None


def test_handlers_of_a_queue_that_is_not_in_the_list_are_an_error() -> None:
    with pytest.raises(ValueError, match="must configure the worker queues declared via"):
        built([("mail", 1)], ("mail", "default"))
    assert list(built([("mail", 1)], ("mail", "default"), partial=True)) == ["mail"]
