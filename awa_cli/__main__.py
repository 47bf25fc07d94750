"""Run the command as ``python -m awa_cli``."""

from __future__ import annotations

import sys

from awa_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
