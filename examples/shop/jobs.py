"""The jobs of the shop: what they carry and where they go.  Producers and workers import it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass

import awa_lib as awa

kinds = awa.Kinds()


@dataclass
class SendReceipt:
    order: int
    to: str


@dataclass
class Charge:
    order: int
    to: str
    cents: int


@dataclass
class AskForReview:
    order: int
    to: str


@dataclass
class ExportOrders:
    batch: int = 1_000


@dataclass
class CountStock:
    warehouse: str


kinds.declare(SendReceipt, queue="mail", max_attempts=5)
# One open charge for each order: a second click on "pay" finds the first one.
kinds.declare(Charge, queue="payments", unique=awa.Unique(fields=["order"]))
kinds.declare(AskForReview, queue="mail", priority=4, unique=awa.Unique(by="args", states="any"))
kinds.declare(ExportOrders, queue="reports", unique=awa.Unique(by="kind"))
kinds.declare(CountStock, queue="stock")


class MailDown(Exception):
    """The mail provider does not answer: try again later."""


class AddressRefused(Exception):
    """The provider does not want this address: trying again does not help."""


def send_mail(to: str, subject: str) -> None:
    """Send a mail through the provider, ``provider.py``.  Blocks for five seconds at most."""
    url = os.environ.get("MAIL_URL", "http://127.0.0.1:8025")
    body = json.dumps({"to": to, "subject": subject}).encode()
    try:
        with urllib.request.urlopen(f"{url}/mails", body, timeout=5):
            return
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 422:
                raise AddressRefused(f"{to!r} was refused") from error
            raise MailDown(f"the mail provider answered {error.code}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise MailDown(f"the mail provider does not answer: {reason}") from error
