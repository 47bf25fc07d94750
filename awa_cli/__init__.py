"""The ``awa`` command: every surface for people and scripts, drawn over ``awa_lib``."""
