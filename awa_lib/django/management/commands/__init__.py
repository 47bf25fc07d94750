"""``manage.py awa_worker`` and ``manage.py awa_migrate``."""
