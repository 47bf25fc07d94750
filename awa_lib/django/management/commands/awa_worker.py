"""``manage.py awa_worker``: run tasks; it becomes ``awa worker``."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from awa_lib.django.backend import backend_named

__all__ = ["Command"]


class Command(BaseCommand):  # type: ignore[misc] # Django is not typed
    """Run the tasks of a backend until SIGTERM or Ctrl-C."""

    help = (
        "Run the tasks of a backend until SIGTERM or Ctrl-C.  Takes every option of awa worker: "
        "see awa worker --help."
    )

    def add_arguments(self, parser: Any) -> None:
        """Declare the options; those that are not here go to ``awa worker`` as they are."""
        parser.add_argument(
            "--backend", metavar="ALIAS", help="Of TASKS; by default default, or the only one."
        )
        parser.add_argument(
            "--queue",
            metavar="NAME[=N]",
            action="append",
            default=[],
            help="Process this queue, at most N tasks at once; may be repeated.  By default all "
            "QUEUES of the backend.",
        )
        parser.add_argument(
            "--processes", metavar="N", type=int, help="Run N processes; restart those that crash."
        )
        parser.add_argument(
            "--reload", action="store_true", help="Restart when a .py file changes."
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Replace this process by ``awa worker``."""
        # Abbreviations would take options of awa worker for those of here.
        parser = self.create_parser(argv[0], argv[1], allow_abbrev=False)
        options, others = parser.parse_known_args(argv[2:])
        try:
            backend = backend_named(options.backend)
        except ImproperlyConfigured as error:
            self.stderr.write(f"CommandError: {error}")
            sys.exit(1)
        command = [sys.executable, "-m", "awa_cli", "worker"]
        command += [f"awa_lib.django.worker:clients.{backend.alias}"]
        command += [f"--queue={name}" for name in options.queue]
        command += [f"--processes={options.processes}"] if options.processes else []
        command += ["--reload"] * options.reload + ["-v"] * (options.verbosity > 1)
        command += ["--no-color"] * options.no_color + others
        # What makes the project importable here.
        place = os.path.dirname(os.path.abspath(argv[0]))  # noqa: PTH100, PTH120 - text, as in sys.path
        path = [options.pythonpath, place, os.environ.get("PYTHONPATH")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        os.execve(sys.executable, command, environment)  # noqa: S606 - no shell, and no other program

    def handle(self, *_: Any, **__: Any) -> None:
        """Refuse to run inside another program, whose process would be replaced."""
        raise CommandError("run it as a program: manage.py awa_worker")
