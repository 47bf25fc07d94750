"""Run the command as ``python -m awa_cli``."""

from __future__ import annotations

import sys

from awa_cli.main import main

if __name__ == "__main__":
    status = main()
    # An interrupt inside exec() of a text, as dataclasses use it, leaves a mark with which
    # `python -m` ends by the signal instead of the status.  This removes the mark.
    exec("")  # noqa: S102 - no text at all
    sys.exit(status)
