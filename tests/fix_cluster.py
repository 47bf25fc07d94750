"""A cluster as people run it: Patroni, etcd, HAProxy and PgBouncer, each on a host of its own.

A host is a network namespace on a bridge, so that it can be cut off.  The configuration is that of
the guide, ``examples/ha``; only names of hosts and directories are replaced.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fix_wait import eventually

CONFIGURATION = Path(__file__).parents[1] / "examples" / "ha"
PROGRAMS = ("patroni", "patronictl", "etcd", "haproxy", "pgbouncer", "ip", "nsenter")
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
STAND_FOR = {"proxy": 5, "etcd1": 6, "pg1": 11, "pg2": 12, "pg3": 13}
PASSWORD = "app-password"
GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "high-availability.md"
TIME_OUTS = re.findall(r"pg3\.internal/app\?(connect_timeout\S*)`", GUIDE.read_text())[0]


def missing() -> str | None:
    """Return why no cluster can be had here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if not BINARIES:
        absent.append("postgresql of Debian")
    if absent:
        return f"not installed: {', '.join(absent)}"
    made = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "probe0", "type", "veth"],
        env={"PATH": PATH}, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    return None if made.returncode == 0 else f"no network namespaces: {made.stderr.strip()}"


def _ip(*words: object, check: bool = True) -> bool:
    done = subprocess.run(
        ["ip", *map(str, words)], env={"PATH": PATH}, capture_output=True, text=True, timeout=20
    )
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(map(str, words))}: {done.stderr}")
    return done.returncode == 0


class Host:
    """A network namespace with an address on the bridge."""

    def __init__(self, net: Net, name: str) -> None:
        self.name = name
        self._processes = net.processes
        self.space = f"{net.bridge}-{name}"
        self.address = f"{net.prefix}.{STAND_FOR[name]}"
        self._outside = f"{net.bridge}v{STAND_FOR[name]}"
        _ip("netns", "add", self.space)
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", "eth0",
            "netns", self.space)  # fmt: skip
        _ip("link", "set", self._outside, "master", net.bridge, "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            _ip("-n", self.space, *words)

    def start(self, *words: object, log: Path, **env: str) -> subprocess.Popen[bytes]:
        """Start a program on this host."""
        user = ["-S", str(_account().pw_uid), "-G", str(_account().pw_gid)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.space}", *user, *map(str, words)],
                env={"PATH": PATH, "LC_ALL": "C.UTF-8", **env}, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True, cwd="/",
            )  # fmt: skip
        self._processes.append(process)
        return process

    def pids(self) -> list[int]:
        """Return all processes of this host."""
        done = subprocess.run(
            ["ip", "netns", "pids", self.space], env={"PATH": PATH}, capture_output=True, text=True
        )
        return [int(word) for word in done.stdout.split()]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to all processes of this host."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def cut(self) -> None:
        """Pull the plug out of the network."""
        _ip("link", "set", self._outside, "down")

    def heal(self) -> None:
        """Put the plug in, and forget whom it did not reach."""
        _ip("link", "set", self._outside, "up")
        for line in subprocess.run(
            ["ip", "-n", self.space, "route", "show", "type", "blackhole"],
            env={"PATH": PATH}, capture_output=True, text=True, timeout=20,
        ).stdout.splitlines():  # fmt: skip
            _ip("-n", self.space, "route", "del", "blackhole", line.split()[1])

    def lose(self, *others: Host) -> None:
        """Lose the way to some hosts, silently; the others, clients among them, are still there."""
        for other in others:
            _ip("-n", self.space, "route", "replace", "blackhole", f"{other.address}/32")


def _account() -> pwd.struct_passwd:
    return pwd.getpwnam("postgres")


# Waits until the process of the tests closes its input or is gone, however it ended.
SWEEP = """
cat >/dev/null
for file in "$2"/*/*.pid; do [ -f "$file" ] && kill -9 -- "-$(cat "$file")"; done
for host in $(ip netns list | cut -d' ' -f1 | grep "^$1-"); do
    for try in 1 2 3 4 5 6 7 8 9; do
        pids=$(ip netns pids "$host")
        [ -z "$pids" ] && break
        kill -9 $pids
        sleep 0.1
    done
    ip netns del "$host"
done
for outside in $(ls /sys/class/net | grep "^$1v"); do ip link del "$outside"; done
ip link del "$1"
rm -rf "$2"
"""


class Net:
    """A bridge of its own with the first free address range."""

    def __init__(self, place: Path) -> None:
        for number in range(1, 255):
            # Creating it is what reserves the range: of two runs one succeeds.
            if _ip("link", "add", f"awaha{number}", "type", "bridge", check=False):
                break
        else:
            raise RuntimeError("no free bridge")
        self.bridge = f"awaha{number}"
        self.prefix = f"10.213.{number}"
        self.hosts: dict[str, Host] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self._sweeper = subprocess.Popen(
            ["sh", "-c", SWEEP, "sweep", self.bridge, place], env={"PATH": PATH},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        _ip("addr", "add", f"{self.prefix}.1/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def host(self, name: str) -> Host:
        host = self.hosts[name] = Host(self, name)
        return host

    def remove(self) -> None:
        """End all processes, and remove the hosts, the bridge and all files."""
        assert self._sweeper.stdin is not None
        self._sweeper.stdin.close()
        for process in (self._sweeper, *self.processes):
            process.wait(60)


class Node:
    """A host with Patroni and PostgreSQL."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self.name = host.name
        self.host = host
        self.address = host.address
        self._cluster = cluster
        self.place = cluster.place / host.name
        self.place.mkdir()
        shutil.chown(self.place, "postgres", "postgres")
        self.file = cluster.write("patroni.yml", self.place / "patroni.yml", node=self)
        self.log = self.place / "patroni.log"

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        self._patroni = self.host.start("patroni", self.file, log=self.log)

    @property
    def url(self) -> str:
        return self._cluster.url_of(self.address)

    @property
    def admin_url(self) -> str:
        """Return the URL of the superuser."""
        return self._cluster.url_of(self.address, "postgres", "superuser-password")

    @property
    def is_primary(self) -> bool:
        """Return whether PostgreSQL here takes changes."""
        return self.ask("SELECT NOT pg_is_in_recovery()") is True

    def ask(self, statement: str) -> Any:
        """Return the answer of the superuser's statement; None when there is none."""
        with (
            suppress(psycopg.Error),
            psycopg.connect(self.admin_url, connect_timeout=2, autocommit=True) as conn,
        ):  # fmt: skip
            cursor = conn.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return None if row is None else row[0]
        return None

    def said(self) -> dict[str, Any]:
        """Return what Patroni says of this node."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:8008/patroni", timeout=2) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as answer:
            return json.load(answer)
        except OSError:
            return {}

    @property
    def postmaster(self) -> int:
        return int((self.place / "data" / "postmaster.pid").read_text().split()[0])

    def kill_postgres(self) -> None:
        """Kill every process of PostgreSQL, and not Patroni."""
        first = self.postmaster
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Cluster:
    """Some nodes, an etcd, HAProxy and PgBouncer."""

    def __init__(self, place: Path, nodes: int, changes: dict[str, Any]) -> None:
        self.place = place
        self._changes = changes
        self.net = Net(place)
        try:
            names = [f"pg{n}" for n in range(1, nodes + 1)]
            for name in ("proxy", "etcd1", *names):
                self.net.host(name)
            self.proxy, self.etcd = self.net.hosts["proxy"], self.net.hosts["etcd1"]
            self.nodes = [Node(self, self.net.hosts[name]) for name in names]
            self._start()
        except BaseException:
            self.close()
            raise

    def write(self, name: str, path: Path, node: Node | None = None) -> Path:
        """Write a file of the guide with the names and directories of this run."""
        text = (CONFIGURATION / name).read_text(encoding="utf-8")
        if node is not None:
            text = text.replace("name: pg1", f"name: {node.name}")
            text = text.replace("pg1.internal", f"{node.name}.internal")
            text = text.replace("/usr/lib/postgresql/15/bin", str(BINARIES[-1].parent))
            text = text.replace("/var/lib/postgresql/15/app", str(node.place / "data"))
            text = text.replace("/var/lib/postgresql/pgpass", str(node.place / "pgpass"))
            text = text.replace("/var/run/postgresql", str(node.place))
            for key, value in self._changes.items():
                text, count = re.subn(rf"(?m)^( *){key}: .*$", rf"\g<1>{key}: {value}", text)
                assert count == 1, key
        text = text.replace("/etc/pgbouncer", str(path.parent))
        for host in self.net.hosts.values():
            text = text.replace(f"{host.name}.internal", host.address)
        # Servers of HAProxy that this run has not.
        text = "".join(line for line in text.splitlines(True) if ".internal" not in line)
        path.write_text(text, encoding="utf-8")
        shutil.chown(path, "postgres", "postgres")
        path.chmod(0o600)
        return path

    def _start(self) -> None:
        address, name = self.etcd.address, "etcd1"
        (self.place / "etcd").mkdir()
        shutil.chown(self.place / "etcd", "postgres", "postgres")
        self.etcd.start(
            "etcd", "--name", name, "--data-dir", self.place / "etcd" / "data",
            "--listen-client-urls", f"http://{address}:2379",
            "--advertise-client-urls", f"http://{address}:2379",
            "--listen-peer-urls", f"http://{address}:2380",
            "--initial-advertise-peer-urls", f"http://{address}:2380",
            "--initial-cluster", f"{name}=http://{address}:2380",
            log=self.place / "etcd.log",
        )  # fmt: skip
        for node in self.nodes:
            node.start()
        self.start_haproxy()
        eventually(self.primary, 60)
        primary = self.primary()
        primary.ask(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
        primary.ask("CREATE DATABASE app OWNER app")
        self.start_pgbouncer()
        eventually(self.complete, 60)

    def start_haproxy(self) -> None:
        file = self.write("haproxy.cfg", self.place / "haproxy.cfg")
        self.haproxy = self.proxy.start(
            "haproxy", "-db", "-f", file, log=self.place / "haproxy.log"
        )

    def start_pgbouncer(self) -> None:
        self.write("userlist.txt", self.place / "userlist.txt")
        file = self.write("pgbouncer.ini", self.place / "pgbouncer.ini")
        self.pgbouncer = self.proxy.start("pgbouncer", file, log=self.place / "pgbouncer.log")

    def restart(self, name: str) -> None:
        """Kill a program before the nodes, and start it again."""
        process = getattr(self, name)
        process.kill()
        process.wait(10)
        getattr(self, f"start_{name}")()

    # -- addresses ---------------------------------------------------------------------------

    def url_of(self, address: str, user: str = "app", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@{address}/{'app' if user == 'app' else user}"

    @property
    def hosts_url(self) -> str:
        """Return the URL that names every node, with the time-outs of the guide."""
        url = self.url_of(",".join(node.address for node in self.nodes))
        return f"{url}?{TIME_OUTS}"

    @property
    def haproxy_url(self) -> str:
        return self.url_of(f"{self.proxy.address}:5000")

    @property
    def replica_url(self) -> str:
        return self.url_of(f"{self.proxy.address}:5001")

    @property
    def pooled_url(self) -> str:
        return self.url_of(f"{self.proxy.address}:6432")

    # -- looking -----------------------------------------------------------------------------

    def primary(self) -> Node | None:
        """Return the node that takes changes."""
        return next((node for node in self.nodes if node.is_primary), None)

    def standbys(self) -> list[Node]:
        return [n for n in self.nodes if n.ask("SELECT pg_is_in_recovery()") is True]

    def complete(self) -> bool:
        """Return whether one leads, the others follow it, and one of them synchronously."""
        with suppress(OSError, ValueError):
            with urllib.request.urlopen(
                f"http://{self.nodes[0].address}:8008/cluster", timeout=2
            ) as answer:
                members = json.load(answer)["members"]
            roles = sorted(
                member["role"] for member in members
                if member["state"] in ("running", "streaming") and member.get("lag", 0) == 0
            )  # fmt: skip
            second = (
                "sync_standby" if self._changes.get("synchronous_mode") != "false" else "replica"
            )
            others = ["replica"] * (len(self.nodes) - 2)
            return roles == sorted(["leader", second, *others])
        return False

    def ctl(self, *words: str) -> str:
        """Run patronictl with the file of the first node."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.nodes[0].host.space}", "patronictl", "-c",
             str(self.nodes[0].file), *words],
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def switch_over(self, to: Node | None = None) -> None:
        """Hand the primary's part to a standby, as an operator does."""
        primary = self.primary()
        assert primary is not None
        candidate = ["--candidate", to.name] if to else []
        self.ctl("switchover", "--master", primary.name, *candidate, "--force", "app")

    def close(self) -> None:
        """End every process; remove hosts and files."""
        self.net.remove()


@contextmanager
def cluster(nodes: int = 3, **changes: Any) -> Iterator[Cluster]:
    """Run a cluster; changes are values of ``patroni.yml`` by their key."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    place = Path(tempfile.mkdtemp(prefix="awa-cluster-"))
    place.chmod(0o755)
    running = Cluster(place, nodes, changes)
    try:
        yield running
    finally:
        running.close()


def now_primary(of: Cluster, other_than: Node | None = None) -> Callable[[], Node | None]:
    """Return a check for a new primary."""

    def check() -> Node | None:
        return next((n for n in of.nodes if n is not other_than and n.is_primary), None)

    return check
