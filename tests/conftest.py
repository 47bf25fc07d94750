"""Plugins and the environment; fixtures live in the fix_*.py files."""

from __future__ import annotations

import gc
import os
import signal

from hypothesis import settings

# A developer's own settings must not reach the tests, which would work on his database; the server
# to test on is one that was meant.
for _name in list(os.environ):
    if _name != "AWA_TEST_DATABASE_URL" and (
        _name == "DATABASE_URL" or _name.startswith(("AWA_", "PG"))
    ):
        del os.environ[_name]

# A busy machine is no fault of the code; what is slow shows in benchmarks.
settings.register_profile("awa", deadline=None)
settings.load_profile("awa")

# A shell makes commands in the background ignore Ctrl-C, and nohup a closed terminal, and their
# children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = [
    "fix_db",
    "fix_embedded",
    "fix_wait",
    "fix_interop",
    "fix_clients",
    "fix_cli",
    "fix_bridge",
    "fix_plans",
    "fix_proxy",
    "fix_worker",
    "fix_tui",
    "fix_server",
    "fix_secure_server",
    "fix_foreign_server",
    "fix_doctor",
    "fix_web",
    "fix_browser",
    "fix_examples",
    "fix_django",
]


# By itself it takes longer than what is left when its turn comes.
LONGEST = "test_openapi.py"


def pytest_collection_modifyitems(items) -> None:
    items.sort(key=lambda item: item.path.name != LONGEST)


def pytest_collection_finish() -> None:
    """Keep what is here to stay from garbage collections, of which a full one takes a second."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write tests/cli/golden anew from what is printed",
    )
