"""A network that falls silent, is slow, and cuts: before one of the workers."""

from __future__ import annotations

import time

from fix_fleet import Fleet
from fix_wait import eventually


def a_silent_network(fleet: Fleet) -> None:
    began = time.monotonic()
    fleet.proxy.hold()
    for member in fleet.living:
        # Silent for longer than the staleness: no other process can know that it is alive.
        member.hurt = member.hurt or member.proxied
    try:
        fleet.expect_unhealthy([m for m in fleet.living if m.proxied], began)
        time.sleep(fleet.random.uniform(0, 4))
    finally:
        fleet.proxy.let_go()


def a_cut_network(fleet: Fleet) -> None:
    for _ in range(5):
        fleet.proxy.cut_all()
        time.sleep(0.3)


def half_open_connections(fleet: Fleet) -> None:
    """All connections of now stay open and say nothing any more; new ones work."""
    for member in fleet.living:
        member.hurt = member.hurt or member.proxied
    fleet.proxy.strand()


def a_latency_of_300_ms(fleet: Fleet) -> None:
    fleet.proxy.delay = 0.3
    try:
        time.sleep(5)
        # Workers without the latency may take all jobs, so it need not begin one.
        slow = [m for m in fleet.living if m.proxied]
        eventually(lambda: all(m.last.get("healthy") for m in slow), 15)
    finally:
        fleet.proxy.delay = 0.0


def commits_whose_answer_is_cut(fleet: Fleet) -> None:
    """What has been committed is not known to be: of COMMIT, and of an end that is one itself."""
    for text in (b"COMMIT", b"SET state = 'completed'", b"SET state = 'running'"):
        for part in ("nothing", "half"):
            _cut(fleet, text, part)


def claims_cut_from_their_rows(fleet: Fleet) -> None:
    for _ in range(4):
        _cut(fleet, b"SET state = 'running'", "rows")
    _cut(fleet, b"awa.claim_limited(", "rows")


def _cut(fleet: Fleet, text: bytes, part: str) -> None:
    before = fleet.proxy.cuts
    fleet.proxy.cut_after(text, part)
    eventually(lambda: fleet.proxy.cuts > before, 60)
