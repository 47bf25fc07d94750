"""Debian's nginx before a server of this machine, with the configuration of the guide."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fix_secure_server import authority, certificate
from fix_wait import eventually

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "serve.md"
NAME = "jobs.example.org"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def guide_config() -> str:
    """Return the configuration that the guide shows."""
    (found,) = re.findall(r"```nginx\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    return found


@dataclass(frozen=True)
class Nginx:
    """A running nginx, which speaks TLS."""

    port: int
    authority: Path

    def client(self, path: str) -> httpx.Client:
        """Return a client that calls it by its name, below a path."""
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}{path}",
            headers={"Host": f"{NAME}:{self.port}"},
            verify=ssl.create_default_context(cafile=str(self.authority)),
            event_hooks={"request": [_by_name]},
            timeout=30,
        )

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"


def _by_name(request: httpx.Request) -> None:
    request.extensions["sni_hostname"] = NAME


@contextmanager
def nginx(place: Path, backend: int, config: str) -> Iterator[Nginx]:
    """Run nginx with a server's configuration, before the server on the port ``backend``."""
    path = os.environ["PATH"] + ":/usr/sbin"
    program = shutil.which("nginx", path=path)
    if program is None or shutil.which("openssl", path=path) is None:
        pytest.skip("nginx or openssl is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    authority(place, "ca")
    certificate(place, NAME)
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        (f"/etc/ssl/{NAME}.crt", str(place / "server.crt")),
        (f"/etc/ssl/{NAME}.key", str(place / "server.key")),
        ("127.0.0.1:3000", f"127.0.0.1:{backend}"),
    ):
        assert old in config
        config = config.replace(old, new)
    folders = "".join(f"{one}_temp_path {place / one};\n" for one in _TEMPORARY)
    (place / "nginx.conf").write_text(
        f"daemon off;\npid {place}/pid;\nerror_log {place}/log;\nworker_processes 1;\n"
        + ("user root;\n" if os.geteuid() == 0 else "")
        + f"events {{}}\nhttp {{\naccess_log off;\n{folders}{config}}}\n"
    )
    words = [program, "-e", str(place / "log"), "-p", str(place), "-c", str(place / "nginx.conf")]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, (place / "log").read_text()
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True

    try:
        eventually(answers)
        yield Nginx(port, place / "ca.crt")
    finally:
        process.terminate()
        process.wait(timeout=20)
