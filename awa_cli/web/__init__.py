"""The web server: REST API, pages, callbacks, health and metrics."""

from __future__ import annotations

from awa_cli.web.app import create_app

__all__ = ["create_app"]
