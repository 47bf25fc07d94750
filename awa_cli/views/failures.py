"""How failures are shown: groups of attempts that failed in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_cli.views.columns import Column
from awa_cli.views.words import age

if TYPE_CHECKING:
    from awa_lib.reads.failures import Failure

__all__ = ["FAILURE_GROUPS", "short_type", "title_of"]


def short_type(one: Failure) -> str:
    """Return the name of the exception's class, empty for an error without one."""
    return one.error_type.rpartition(".")[2]


def title_of(one: Failure) -> str:
    """Return ``MailDown: mail server <n> is down``."""
    return ": ".join(part for part in (short_type(one), one.message) if part)


FAILURE_GROUPS: Final[tuple[Column[Failure], ...]] = (
    Column("id", "ID", lambda one: one.id),
    Column("count", "COUNT", lambda one: one.total, right=True),
    Column("failed", "FAILED", lambda one: one.failed, right=True, wide=True),
    Column("retried", "RETRIED", lambda one: one.retried, right=True, wide=True),
    Column("requeued", "REQUEUED", lambda one: one.requeued, right=True),
    Column("error", "ERROR", title_of, width=12, style=lambda _: "red"),
    Column("kind", "KIND", lambda one: ", ".join(one.kinds), width=6),
    Column("queue", "QUEUE", lambda one: ", ".join(one.queues), width=5, wide=True),
    Column(
        "first",
        "FIRST",
        lambda one: age(one.first_seen_at),
        style=lambda _: "bright_black",
        by=lambda one: one.first_seen_at,
    ),
    Column(
        "last",
        "LAST",
        lambda one: age(one.last_seen_at),
        style=lambda _: "bright_black",
        by=lambda one: one.last_seen_at,
    ),
    Column("version", "SINCE VERSION", lambda one: one.first_version, width=3, wide=True),
    Column("muted", "MUTED", lambda one: age(one.muted_until), width=3, wide=True),
)
