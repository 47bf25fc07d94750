"""``manage.py awa_migrate``: apply awa's migrations to the databases of the TASKS setting."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from awa_lib.django import schema
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from awa_lib.schema.migrate import Step

__all__ = ["Command"]


class Command(BaseCommand):  # type: ignore[misc] # Django is not typed
    """Apply awa's migrations; the command can be repeated."""

    help = (
        "Apply awa's migrations to the databases that hold its jobs.  manage.py migrate does it "
        "too, unless OPTIONS['migrate'] is False."
    )

    def add_arguments(self, parser: Any) -> None:
        """Declare the options."""
        parser.add_argument(
            "--database", metavar="ALIAS", help="Only this database, whatever TASKS says."
        )
        parser.add_argument(
            "--check", action="store_true", help="Exit with status 1 if migrations are pending."
        )
        parser.add_argument(
            "--plan", action="store_true", help="List what is pending; apply nothing."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the command."""
        aliases = [options["database"]] if options["database"] else schema.databases()
        if not aliases:
            raise CommandError("TASKS has no backend of awa: name a database with --database")
        unknown = [alias for alias in aliases if alias not in connections]
        if unknown:
            known = ", ".join(sorted(connections))
            raise CommandError(f"DATABASES has no {unknown[0]!r}; it has: {known}")
        try:
            if options["check"] or options["plan"]:
                pending = [self._list(alias) for alias in aliases]
                if options["check"] and any(pending):
                    sys.exit(1)
                return
            for alias in aliases:
                applied = schema.apply(alias, self._tell)
                self.stdout.write(f"{alias}: applied {len(applied)} migrations of awa")
        except AwaError as error:
            raise schema.told(error) from error

    def _list(self, alias: str) -> bool:
        pending = schema.plan(alias).pending
        for one in pending:
            self.stdout.write(f"{alias}: pending {one.label} {one.description}")
        if not pending:
            self.stdout.write(f"{alias}: the schema of awa is up to date")
        return bool(pending)

    def _tell(self, step: Step) -> None:
        if step.status == "waiting":
            self.stdout.write(f"waiting: {step.note}")
        elif step.status == "applied" and step.migration is not None:
            self.stdout.write(f"  applied {step.migration.label} {step.migration.description}")
