"""``awa worker``: the queues and the options that reach the worker, and Django's settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from fix_cli import LEAVES, environment

from awa_cli.commands import worker
from awa_lib.config.workers import StartOptions

APP = """
import os
import awa_lib

client = awa_lib.AsyncClient(os.environ["DATABASE_URL"])
client.queue("mail", concurrency=50, min_workers=2, weight=3)

@client.task(dict, kind="send", queue="mail")
async def send(job): ...

@client.task(dict, kind="report")
async def report(job): ...
"""
# Runs the command line with a run() that prints what it gets.
SCRIPT = """
import json, sys
from awa_lib.runtime import run as module

def run(client, queues, *, on_ready, **options):
    print(json.dumps({"queues": queues, **options}))

module.run = run
from awa_cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Any]:
    """Run ``awa worker`` with these words; return what run() gets, or the error."""
    (tmp_path / "shop.py").write_text(APP)

    def given(*words: object, **env: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, "worker", "shop:client", *map(str, words)],
            cwd=tmp_path, env=environment("postgresql://u@localhost/x", **env),
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return given


DEFAULTS = {
    "drain_timeout": 30.0,
    "partial": True,
    "listens": True,
    "leads": True,
}


def test_logs_of_queues_are_captured(given) -> None:
    got = given("--capture-logs", "mail", "--queue", "mail=5", "--queue", "default")
    assert got["queues"] == [
        {"name": "mail", "max_workers": 5, "capture_logs": True},
        {"name": "default", "max_workers": 10},
    ]
    refused = given("--capture-logs", "mial")
    assert "--capture-logs 'mial' is no queue of this worker" in refused
    assert "did you mean: --capture-logs mail" in refused


def test_without_options_the_client_says_how_it_works(given) -> None:
    assert given() == {
        **DEFAULTS,
        "queues": [{"name": "mail"}, {"name": "default", "max_workers": 10}],
    }


@pytest.mark.parametrize(
    ("words", "queues"),
    [
        (["--queue", "mail"], [{"name": "mail"}]),
        (["--queue", "mail=5"], [{"name": "mail", "max_workers": 5}]),
        (
            ["--queue", "mail", "--queue", "default=7", "--concurrency", 3],
            [{"name": "mail", "max_workers": 3}, {"name": "default", "max_workers": 7}],
        ),
        (["--global-max-workers", 9], [{"name": "mail"}, {"name": "default"}]),
    ],
)
def test_queues_of_the_command_line(given, words, queues) -> None:
    assert given(*words)["queues"] == queues


def test_every_option_reaches_the_worker(given) -> None:
    words = """--poll-interval 300ms --quiet-poll-interval 3s --global-max-workers 9
        --claim-batch 50 --heartbeat-interval 2s --rescue-after 9 --cancel-grace 0 --callback-hold 20s
        --promote-interval 400ms --heartbeat-rescue-interval 4s --deadline-rescue-interval 5s
        --callback-rescue-interval 6s --leader-election-interval 7s --spans-per-second 8 --no-lead
        --no-listen --keep-completed 6h --keep-failed 2d --keep-descriptors 0 --keep-audit 100d --keep-ends 40d
        --cleanup-batch-size 10 --drain-timeout 4""".split()
    found = given(*words)

    assert found.pop("queues")
    assert found == {
        "poll_interval_ms": 300,
        "quiet_poll_interval_ms": 3000,
        "global_max_workers": 9,
        "claim_batch": 50,
        "heartbeat_interval_ms": 2000,
        "heartbeat_staleness_ms": 9000,
        "cancel_grace_ms": 0,
        "callback_hold_ms": 20_000,
        "promote_interval_ms": 400,
        "heartbeat_rescue_interval_ms": 4000,
        "deadline_rescue_interval_ms": 5000,
        "callback_rescue_interval_ms": 6000,
        "leader_election_interval_ms": 7000,
        "spans_per_second": 8,
        "leads": False,
        "listens": False,
        "completed_retention_hours": 6,
        "failed_retention_hours": 48,
        "descriptor_retention_days": 0,
        "audit_retention_days": 100,
        "ends_retention_days": 40,
        "cleanup_batch_size": 10,
        "drain_timeout": 4,
        "partial": True,
    }
    assert set(StartOptions.__annotations__) <= set(found)


def test_wrong_values_are_sentences(given) -> None:
    assert "error: --cancel-grace 'soon' is not a duration" in given("--cancel-grace", "soon")
    weighted = given("--global-max-workers", 9, "--queue", "mail=5")
    assert "--global-max-workers cannot be used with --concurrency or --queue NAME=N" in weighted
    assert "do: declare them: client.queue('mail', min_workers=2, weight=3)" in weighted


def test_a_process_gets_what_the_supervisor_was_given(monkeypatch) -> None:
    """The common options are not among it: they would show a password to other users."""
    command = LEAVES["worker"]
    words = ["shop:client", "--queue", "a=1", "--queue", "b", "--processes", "3", "--no-listen",
             "--cancel-grace", "0", "--log-format", "text", "--health-port", "8080"]  # fmt: skip
    ctx: typer.Context = command.make_context("worker", words)

    assert worker._given(ctx) == [
        *("shop:client", "--queue=a=1", "--queue=b", "--health-port=8080", "--log-format=text"),
        *("--no-listen", "--cancel-grace=0"),
    ]


SITE = """
import os
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
{more}
"""
MODELS = """
import os
from django.contrib.auth.models import User  # fails before django.setup()
import awa_lib

client = awa_lib.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="greet")
def greet(job): ...
"""


def test_django_is_set_up_before_the_module_is_imported(given, tmp_path) -> None:
    (tmp_path / "site_settings.py").write_text(SITE.format(more=""))
    (tmp_path / "shop.py").write_text(MODELS)

    assert given(DJANGO_SETTINGS_MODULE="site_settings")["queues"]
    assert "settings are not configured" in given()


def test_settings_that_fail_are_named(given, tmp_path) -> None:
    (tmp_path / "site_settings.py").write_text(SITE.format(more='raise RuntimeError("no key")'))

    for name, why in (("site_settings", "RuntimeError: no key"), ("nowhere", "No module named")):
        said = given(DJANGO_SETTINGS_MODULE=name)
        assert f"Django cannot be set up with DJANGO_SETTINGS_MODULE={name!r}" in said
        assert f"why: {'ModuleNotFoundError: ' if name == 'nowhere' else ''}{why}" in said
        assert "do: fix it, or unset DJANGO_SETTINGS_MODULE" in said
