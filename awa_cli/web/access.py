"""Who sends a request: what ``create_app(user=...)`` returns."""

from __future__ import annotations

from awa_cli.access import Identity

__all__ = ["Identity"]
