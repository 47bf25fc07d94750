"""The interface of Django's tasks, by the project's own tests: ``project/app/cases_*.py``.

Django makes its test databases with ``migrate``, which applies the migrations of awa too.
"""

from __future__ import annotations

import re

from fix_django import Project


def test_the_cases_of_the_project_pass(project: Project) -> None:
    done = project.manage("test", "--pattern", "cases_*.py", "--noinput")

    found = re.search(r"Ran (\d+) tests", done.stderr)
    assert found, done.stderr
    assert int(found[1]) > 60


def test_the_project_passes_the_checks(project: Project) -> None:
    project.manage("check", "--fail-level", "WARNING")
