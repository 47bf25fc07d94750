"""A network that falls silent, and one that cuts."""

from __future__ import annotations

import time

from fix_fleet import Fleet


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
