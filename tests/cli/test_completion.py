"""What the shell offers at the Tab key, and that it says nothing else."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import psycopg
import pytest
from fix_cli import environment
from fix_wait import eventually

import awa_lib as awa


def offered(url: str | None, *words: str) -> list[str]:
    """Return what bash would offer for the last word at the first Tab."""
    done = subprocess.run(
        [sys.executable, "-m", "awa_cli"], timeout=30, capture_output=True, text=True,
        env=environment(url, _AWA_COMPLETE="bash", _AWA_LINE=" ".join(words), _AWA_WORD=words[-1]),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    kind, *found = done.stdout.split()
    assert kind.startswith("=")
    return found


def completed(url: str | None, *words: str) -> list[str]:
    """Return what bash would offer, where there is something to offer.

    On a busy machine the database may answer too late for the first Tab; the next finds its answer.
    """
    for _ in range(2):
        if found := offered(url, *words):
            return found
    return offered(url, *words)


def test_names(database_url, add, cli) -> None:
    job = add("failed", kind="send_email")
    add("scheduled", kind="send_sms", queue="sms")
    cli("context", "add", "staging", "embedded:")
    url = database_url
    assert completed(url, "awa", "queue", "show", "") == ["email", "sms"]
    assert completed(url, "awa", "queue", "pause", "e") == ["email"]
    assert completed(url, "awa", "job", "move", "s") == ["sms"]
    assert completed(url, "awa", "job", "list", "--kind", "send_") == ["send_email", "send_sms"]
    assert completed(url, "awa", "job", "list", "--queue", "s") == ["sms"]
    assert completed(url, "awa", "job", "retry", "--state", "f") == ["failed"]
    assert str(job) in completed(url, "awa", "job", "show", "")
    assert completed(None, "awa", "context", "use", "st") == ["staging"]
    assert completed(None, "awa", "context", "test", "st") == ["staging"]
    assert completed(None, "awa", "--context", "st") == ["staging"]
    assert completed(None, "awa", "job", "list", "--context", "st") == ["staging"]
    named = completed(None, "awa", "queue", "show", "--database-url", url, "sm")
    assert named == ["sms"]


def test_ids_of_other_things(database_url, add, cli) -> None:
    job = add("failed", kind="send_email")
    assert cli("dlq", "move", job, "--reason", "why").status == 0
    add("failed", kind="send_sms")
    submitted = cli("batch", "submit", "retry", "--all", "-o", "json").data["id"]
    assert str(job) in completed(database_url, "awa", "dlq", "show", "")
    assert str(job) not in completed(database_url, "awa", "dlq", "move", "")
    assert submitted in completed(database_url, "awa", "batch", "show", submitted[:4])


def test_names_of_a_workflow(database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("import") as flow:
        flow.add({}, kind="k", name="merge", signal="approved")
        flow.add({}, kind="k", name="mail")
    url, one = database_url, str(flow.id)
    assert one in completed(url, "awa", "workflow", "show", "")
    assert completed(url, "awa", "workflow", "list", "--name", "im") == ["import"]
    assert completed(url, "awa", "workflow", "list", "--state", "su") == ["succeeded"]
    assert completed(url, "awa", "workflow", "tasks", one, "--state", "sk") == ["skipped"]
    assert completed(url, "awa", "workflow", "signal", one, "") == ["approved"]
    assert completed(url, "awa", "workflow", "retry", one, "--task", "m") == ["mail", "merge"]


def test_words_that_need_no_database() -> None:
    assert completed(None, "awa", "que") == ["queue"]
    assert completed(None, "awa", "queue", "re") == ["resume"]
    assert completed(None, "awa", "job", "tail", "--event", "c") == [
        "created", "completed", "cancelled",
    ]  # fmt: skip
    assert completed(None, "awa", "job", "list", "--sort", "run") == ["run_at"]
    assert completed(None, "awa", "job", "list", "-o", "t") == ["table", "template="]
    assert completed(None, "awa", "job", "show", "1", "-o", "") == ["table", "json"]
    assert completed(None, "awa", "job", "list", "--so") == ["--sort"]


def test_silent_after_a_mistake() -> None:
    assert offered(None, "awa", "quee", "show", "") == []
    assert offered(None, "awa", "--nonsense", "queue", "show", "") == []


def test_a_script_that_asks_in_another_way_is_told_so() -> None:
    env = environment(None, _AWA_COMPLETE="complete_bash")
    done = subprocess.run(
        [sys.executable, "-m", "awa_cli"], env=env, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "awa --install-completion" in done.stderr


@pytest.mark.parametrize("url", [None, "postgresql://127.0.0.1:1/x", "nonsense", "embedded:/no"])
def test_silent_when_the_database_is_away(url) -> None:
    assert offered(url, "awa", "queue", "show", "e") == []
    assert completed(url, "awa", "job", "list", "--state", "f") == ["failed"]


def test_silent_on_a_database_without_awa(empty_database_url) -> None:
    assert offered(empty_database_url, "awa", "queue", "show", "e") == []
    assert offered(empty_database_url, "awa", "dlq", "show", "") == []


def test_silent_when_the_config_cannot_be_read(config) -> None:
    config.parent.mkdir()
    config.write_text("current = [")
    assert offered(None, "awa", "queue", "show", "e") == []
    assert offered(None, "awa", "context", "use", "") == []


def test_nobody_waits_for_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        url = f"postgresql://127.0.0.1:{hole.getsockname()[1]}/x"
        began = time.monotonic()
        assert offered(url, "awa", "queue", "show", "e") == []
        assert time.monotonic() - began < 10  # half a second, and the start of a busy machine


def test_nobody_waits_for_a_lock(database_url, add) -> None:
    add()
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE awa.jobs_hot")
        began = time.monotonic()
        assert offered(database_url, "awa", "queue", "show", "e") == []
        assert time.monotonic() - began < 12


def test_an_answer_is_offered_again_at_once_and_then_anew(database_url, add) -> None:
    add("failed")
    words = ("awa", "queue", "show", "")
    assert completed(database_url, *words) == ["email"]
    add("failed", queue="sms")
    assert eventually(lambda: completed(database_url, *words) == ["email", "sms"])


def test_a_kept_answer_is_private_and_knows_no_password(database_url, add, config) -> None:
    add("failed")
    url = f"{database_url}{'&' if '?' in database_url else '?'}password=hunter2"
    assert completed(url, "awa", "queue", "show", "") == ["email"]
    (kept,) = (config.parent / "cache" / "awa" / "completion").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    assert "hunter2" not in kept.read_text()
    assert completed(url.replace("hunter2", "swordfish"), "awa", "queue", "show", "e") == ["email"]
