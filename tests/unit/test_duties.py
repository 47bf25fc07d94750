"""Duties survive whatever their rounds raise, and health is what really happened."""

from __future__ import annotations

import asyncio
import logging

import pytest
from fix_wait import aeventually

from awa_lib.errors import Transient, Unavailable
from awa_lib.runtime import supervisor
from awa_lib.runtime.supervisor import Duty, DutyState, Supervisor


class OutOfTree(BaseException):
    """As ``func_timeout`` raises."""


RAISED = [
    ValueError("odd"), KeyError("queue"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(),
    asyncio.CancelledError(), OutOfTree(), StopAsyncIteration(), MemoryError(),
    BaseExceptionGroup("two", [ValueError(), KeyboardInterrupt()]),
]  # fmt: skip


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_duty_goes_on_after_any_exception(error, caplog) -> None:
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds <= 2:
            raise error

    duty = Duty("odd", work, seconds=0.01)
    await duty.start()
    await aeventually(lambda: rounds > 3)
    await duty.stop()

    said = [r for r in caplog.records if "duty" in r.getMessage()]
    assert [r.levelno for r in said if r.levelno >= logging.WARNING] == [logging.ERROR]
    assert said[0].exc_info is not None
    assert duty.state.failures == 2


async def test_health_comes_and_goes_with_what_happens(monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "_UNHEALTHY_SECONDS", 0.05)
    broken = True

    async def work() -> None:
        if broken:
            raise ValueError("odd")

    team = Supervisor()
    duty = Duty("odd", work, seconds=0.01)
    team.watch(duty.state)
    await duty.start()
    await aeventually(lambda: team.troubled == ["odd"])
    assert not duty.alive
    broken = False
    await aeventually(lambda: team.troubled == [])
    assert duty.alive
    await duty.stop()
    assert not duty.alive


async def test_a_round_that_hangs_is_seen_and_waiting_is_not(monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "_UNHEALTHY_SECONDS", 0.05)
    hang = asyncio.Event()

    async def waits() -> None:
        with duty.resting():
            await hang.wait()

    async def hangs() -> None:
        await hang.wait()

    duty = Duty("waits", waits, round_seconds=0.0)
    stuck = Duty("hangs", hangs, round_seconds=0.0)
    for one in (duty, stuck):
        await one.start()
    await aeventually(lambda: not stuck.state.healthy)
    assert duty.state.healthy
    for one in (duty, stuck):
        await one.stop()


async def test_only_what_is_no_outage_ends_the_process(monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "GIVE_UP_SECONDS", 0.0)
    team = Supervisor()
    away, ours = DutyState("away"), DutyState("ours")
    for state in (away, ours):
        team.watch(state)
    away.fail(Unavailable("gone"))
    team.check()
    assert not team.hopeless.is_set()
    away.fail(Transient("a lock"))
    team.check()
    assert not team.hopeless.is_set()
    ours.fail(ValueError("a fault of ours"))
    await aeventually(lambda: ours.hopeless)
    team.check()
    assert team.hopeless.is_set()


@pytest.mark.parametrize("error", [Unavailable("gone"), Transient("a lock")])
async def test_a_duty_that_is_due_seldom_is_well_soon_after_an_outage(error) -> None:
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds <= 3:
            raise error

    duty = Duty("seldom", work, seconds=60)
    await duty.start()
    await aeventually(lambda: rounds == 4, timeout=5)
    await duty.stop()


def test_a_passing_error_is_said_only_when_it_lasts(caplog, monkeypatch) -> None:
    state = DutyState("busy")
    state.fail(Transient("a lock"))
    state.succeed()
    assert not caplog.records

    monkeypatch.setattr(supervisor, "_TRANSIENT_SECONDS", -1.0)
    with caplog.at_level(logging.INFO):
        state.fail(Transient("a lock"))
        state.fail(Transient("a lock"))
        state.succeed()
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]


def test_a_program_that_forgets_its_duties_ends() -> None:
    async def work() -> None:
        await asyncio.sleep(600)

    async def main() -> None:
        await Duty("left", work).start()
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 10))


async def test_a_log_handler_that_raises_ends_no_duty() -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("the program's own filter")

    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds % 2:
            raise ValueError("odd")

    broken = Broken()
    supervisor.logger.logger.addFilter(broken)
    duty = Duty("odd", work, seconds=0.01)
    try:
        await duty.start()
        await aeventually(lambda: rounds > 3)
    finally:
        supervisor.logger.logger.removeFilter(broken)
        await duty.stop()


async def test_a_duty_that_somebody_cancelled_is_in_trouble(monkeypatch) -> None:
    """A handler may cancel every task it finds; a loop that is gone must be seen."""
    monkeypatch.setattr(supervisor, "_UNHEALTHY_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "GIVE_UP_SECONDS", 0.1)

    async def work() -> None: ...

    team = Supervisor()
    duty = Duty("idle", work, seconds=60)
    team.watch(duty.state)
    await duty.start()
    await asyncio.sleep(0)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "awa idle")
    task.cancel()
    await asyncio.wait({task})
    await aeventually(lambda: team.troubled == ["idle"])
    await aeventually(lambda: duty.state.hopeless)


def test_two_duties_of_one_name_are_both_watched(monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "_UNHEALTHY_SECONDS", -1.0)
    team = Supervisor()
    one, other = DutyState("schedules"), DutyState("schedules")
    team.watch(one)
    team.watch(other)
    one.fail(ValueError("odd"))
    other.succeed()
    assert team.troubled == ["schedules"]
    team.forget(other)
    assert team.troubled == ["schedules"]
