"""The shop of the examples: on FastAPI, on Django, its worker, and the incident."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_examples import Examples, Site
from fix_wait import eventually
from fix_worker import Rows

import awa_lib as awa

SHOP = Path(__file__).parents[2] / "examples" / "shop"
# Without plugins that it does not use and that take long to load.
PYTEST = "pytest -q -n 0 -p no:cacheprovider -p no:schemathesis -p no:textual-snapshot"


@pytest.fixture
def shop(examples: Callable[..., Examples]) -> Examples:
    """The shop, with its tables, and with a mail provider that does not run yet."""
    mail = Site()
    shop = examples(SHOP, MAIL_URL=f"http://127.0.0.1:{mail.port}", MAIL_RETRY_SECONDS="0.1")
    shop.mail = mail
    done = shop.run("worker.py", "set-up")
    assert done.returncode == 0, done.stderr
    return shop


def serve(shop: Examples) -> Site:
    site = Site()
    site.wait(shop.start("-m", "uvicorn", "fastapi_shop:app", "--port", str(site.port)))
    return site


def start_provider(shop: Examples) -> None:
    shop.mail.wait(shop.start("provider.py", str(shop.mail.port)))


def test_its_own_tests_pass(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *PYTEST.split(), str(SHOP)],
        env={**os.environ, "AWA_TEST_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout


def test_an_order_and_its_jobs_commit_together(shop: Examples, rows: Rows) -> None:
    site = serve(shop)
    start_provider(shop)
    status, placed = site.post_json("/orders", email="ada@example.com", item="tea")
    refused = site.post_json("/orders", email="ada@example.com", item="sold out")
    shop.start("-m", "awa_cli", "worker", "worker:client")
    eventually(lambda: site.ask(f"/orders/{placed['order']}")[1]["receipt_sent"], timeout=30)

    assert (status, refused) == (201, (409, {"detail": "sold out"}))
    assert shop.mail.ask("/") == (200, {"mails": 1})
    assert rows.one("SELECT count(*) AS n FROM orders") == {"n": 1}
    # The receipt, and the question that waits for three days.
    assert rows.states() == {"completed": 1, "scheduled": 1}


def test_a_card_is_charged_and_the_receipt_follows(shop: Examples, rows: Rows) -> None:
    site = serve(shop)
    start_provider(shop)
    shop.start("-m", "awa_cli", "worker", "worker:client")
    _, placed = site.post_json("/orders", email="ada@example.com", item="tea", cents=490)
    order = f"/orders/{placed['order']}"
    eventually(lambda: site.ask(order)[1]["callback"], timeout=30)
    callback = site.ask(order)[1]["callback"]
    answered = site.post_json(f"/payments/{callback}", ok=True)
    eventually(lambda: site.ask(order)[1]["receipt_sent"], timeout=30)
    twice = site.post_json(f"/payments/{callback}", ok=True)

    assert answered == (200, {"state": "running"})
    assert twice[0] == 404
    assert site.ask(order)[1]["paid"]
    assert shop.mail.ask("/") == (200, {"mails": 1})


def test_a_declined_card_becomes_a_dead_letter(shop: Examples, rows: Rows) -> None:
    site = serve(shop)
    shop.start("-m", "awa_cli", "worker", "worker:client")
    _, placed = site.post_json("/orders", email="ada@example.com", item="tea", cents=490)
    order = f"/orders/{placed['order']}"
    eventually(lambda: site.ask(order)[1]["callback"], timeout=30)
    callback = site.ask(order)[1]["callback"]
    site.post_json(f"/payments/{callback}", ok=False, reason="no money")
    eventually(lambda: rows.one("SELECT count(*) AS n FROM awa.dead_letters")["n"] == 1, timeout=30)

    assert "the card was declined: no money" in shop.run("-m", "awa_cli", "dlq", "list").stdout


def test_an_address_that_is_refused_is_not_tried_again(shop: Examples, rows: Rows) -> None:
    site = serve(shop)
    start_provider(shop)
    shop.start("-m", "awa_cli", "worker", "worker:client")
    _, placed = site.post_json("/orders", email="nobody", item="tea")
    eventually(lambda: rows.states() == {"cancelled": 1, "scheduled": 1}, timeout=30)

    shown = shop.run("-m", "awa_cli", "job", "show", str(placed["job"])).stdout
    assert "'nobody' was refused" in shown


def test_a_warehouse_is_counted_by_one_job_at_a_time(shop: Examples, rows: Rows) -> None:
    site = serve(shop)
    for warehouse in ("north", "south") * 5:
        assert site.ask(f"/stock/{warehouse}", b"")[0] == 202
    shop.start("-m", "awa_cli", "worker", "worker:client")
    eventually(lambda: rows.states() == {"completed": 10}, timeout=30)

    policy = rows.one(
        "SELECT max_running, max_running_per_key FROM awa.queue_policies WHERE queue = 'stock'"
    )
    assert policy == {"max_running": 4, "max_running_per_key": 1}


def test_the_nightly_export_goes_on_where_it_was(
    shop: Examples, rows: Rows, database_url: str
) -> None:
    rows.conn.execute(
        "INSERT INTO orders (email, item) SELECT 'a@b.example', 'tea' FROM generate_series(1, 2500)"
    )
    with awa.Client(database_url) as client:
        shop.start("-m", "awa_cli", "worker", "worker:client")
        eventually(client.list_cron_jobs, timeout=30)
        client.trigger_cron_job("export-orders")
        eventually(lambda: rows.states() == {"completed": 1}, timeout=30)


def test_django(examples: Callable[..., Examples], rows: Rows) -> None:
    shop = examples(SHOP / "django_shop")
    for command in (["manage.py", "migrate"], ["-m", "awa_cli", "migrate"]):
        done = shop.run(*command)
        assert done.returncode == 0, done.stderr
    site = Site()
    site.wait(shop.start("manage.py", "runserver", "--noreload", f"127.0.0.1:{site.port}"))
    placed = site.post("/orders", email="ada@example.com", item="tea")
    refused = site.post("/orders", email="ada@example.com", item="sold out")
    waits = site.ask("/orders/1")
    shop.environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    shop.start("-m", "awa_cli", "worker", "orders.jobs:worker")
    eventually(lambda: site.ask("/orders/1")[1]["receipt_sent"], timeout=30)

    assert (placed, refused[0]) == ((201, {"order": 1, "job": 1}), 409)
    assert waits == (200, {"item": "tea", "receipt_sent": False})
    eventually(lambda: rows.states() == {"completed": 1})


def test_the_tests_of_the_django_shop_pass(examples: Callable[..., Examples]) -> None:
    shop = examples(SHOP / "django_shop")
    tested = shop.run("manage.py", "test")
    changed = shop.run("manage.py", "makemigrations", "--check", "--dry-run")

    assert tested.returncode == 0, tested.stderr
    assert "Ran 3 tests" in tested.stderr
    assert changed.returncode == 0, changed.stdout


def test_the_incident(examples: Callable[..., Examples], rows: Rows) -> None:
    """The provider is down, every receipt fails, and the commands that are shown mend it."""
    done = examples(SHOP).run("incident.py", "--orders", "25", timeout=240)
    said = done.stdout

    assert done.returncode == 0, done.stderr
    assert re.search(r"MailDown: the mail provider does not answer: .* refused", said)
    assert re.search(r"(\d+) of \1 attempts of the kind send_receipt have failed since", said), said
    assert "Retried 24 jobs" in said
    assert "The provider has accepted 25 mails for 25 orders." in said
    assert rows.states() == {"completed": 25}
