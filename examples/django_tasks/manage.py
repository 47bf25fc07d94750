"""A shop whose background work is Django's own tasks, run by awa.

export DATABASE_URL=postgresql:///shop
python manage.py migrate
python manage.py runserver
python manage.py awa_worker
"""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    execute_from_command_line(sys.argv)
