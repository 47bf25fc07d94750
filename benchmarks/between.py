"""What may stand between a worker and its server: a slow network, a transaction pooler.

Started as a program it is the network: ``python -m benchmarks.between SOCKET SECONDS`` delays each
direction by half of the seconds, and prints its port.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

POOLER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
CONNECTIONS = 20


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
    """Pass on what is read, each block as late as the first."""
    loop = asyncio.get_running_loop()
    blocks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        data = b"begin"
        while data:
            with suppress(OSError):
                data = await reader.read(65_536)
            await blocks.put((loop.time() + late, data))

    reading = asyncio.create_task(read())
    with suppress(OSError):
        while True:
            due, data = await blocks.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
    reading.cancel()
    writer.close()


async def network(target: str, seconds: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(target)
        await asyncio.gather(
            pipe(reader, back, seconds / 2), pipe(there, writer, seconds / 2)
        )  # fmt: skip

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def distant(url: str, seconds: float) -> Iterator[str]:
    """Return the address of the same database behind a network with this round trip."""
    server = conninfo_to_dict(url)
    target = Path(str(server["host"])) / f".s.PGSQL.{server.get('port') or 5432}"
    argv = [sys.executable, "-m", "benchmarks.between", str(target), str(seconds)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        yield _address(server, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


@contextmanager
def pooled(url: str) -> Iterator[str]:
    """Return the address of the same database behind a transaction pooler."""
    if POOLER is None:
        raise RuntimeError("pgbouncer is not installed")
    server = conninfo_to_dict(url)
    place = Path(str(server["host"]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="awa-bench-pooler-"))
    settings = folder / "pooler.ini"
    settings.write_text(
        f"[databases]\n* = host={place} port={server.get('port') or 5432} user={server['user']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
        f"ignore_startup_parameters = extra_float_digits\nlogfile = {folder}/log\n"
    )
    settings.chmod(0o644)
    # It may connect to the socket of the server, and must not be root.
    owner = place.owner()
    shutil.chown(folder, owner)
    as_owner = ["-u", owner] if os.geteuid() == 0 else []
    process = subprocess.Popen([POOLER, "-q", *as_owner, str(settings)])
    try:
        there = _address(server, port)
        _wait_until_it_answers(there)
        yield there
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _address(server: dict[str, object], port: int) -> str:
    # A URL, because not every client of PostgreSQL reads another form.
    return f"postgresql://{server['user']}@127.0.0.1:{port}/{server['dbname']}"


def _wait_until_it_answers(url: str) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            with psycopg.connect(make_conninfo(url), autocommit=True, prepare_threshold=None):
                return
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(network(sys.argv[1], float(sys.argv[2])))
