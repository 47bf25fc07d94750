"""What is done to the cluster, and what an operator does after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fix_cluster import Cluster, Node, cluster
from fix_cluster_load import Load, Result, load
from fix_wait import eventually

Act = Callable[[Cluster, Node], object]


class Fault(NamedTuple):
    """A fault of the primary's host, or of what stands before it."""

    hurt: Act
    after: Act = lambda cluster, node: None
    moves: bool = True
    """Whether another host becomes the primary."""


def _split(cluster: Cluster, node: Node) -> None:
    """Only clients, HAProxy and PgBouncer among them, still reach the primary."""
    node.host.lose(cluster.etcd, *(n.host for n in cluster.nodes if n is not node))


FAULTS = {
    "switchover": Fault(lambda cluster, node: cluster.switch_over()),
    "PostgreSQL of the primary killed": Fault(lambda cluster, node: node.kill_postgres()),
    "primary's host killed": Fault(
        lambda cluster, node: node.host.kill(), lambda cluster, node: node.start()
    ),
    "primary's host cut off": Fault(
        lambda cluster, node: node.host.cut(), lambda cluster, node: node.host.heal()
    ),
    "primary cut off from etcd and standbys": Fault(_split, lambda cluster, node: node.host.heal()),
    "HAProxy killed": Fault(lambda cluster, node: cluster.restart("haproxy"), moves=False),
    "PgBouncer killed": Fault(lambda cluster, node: cluster.restart("pgbouncer"), moves=False),
}


def play(load: Load, name: str) -> Result:
    """Play a fault when the cluster is whole, and wait until everybody works."""
    fault, of = FAULTS[name], load.cluster
    eventually(of.complete, 120)
    load.flows()
    primary = of.primary()
    assert primary is not None
    result = load.measure(
        name, lambda: fault.hurt(of, primary), other_than=primary if fault.moves else None
    )
    fault.after(of, primary)
    return result


@contextmanager
def loaded(nodes: int = 3, **changes: str) -> Iterator[Load]:
    """Run a cluster under load: each way to connect has a producer and a worker."""
    with cluster(nodes, **changes) as of, load(of) as running:
        running.work("w-hosts", of.hosts_url)
        running.work("w-haproxy", of.haproxy_url, command=True)
        running.work("w-pooled", of.pooled_url)
        running.produce("p-hosts", of.hosts_url, blocking=True)
        running.produce("p-haproxy", of.haproxy_url, blocking=False)
        running.produce("p-pooled", of.pooled_url, blocking=True)
        running.flows()
        yield running
