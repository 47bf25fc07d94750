"""A nightly import: a part for each file of a folder, a merge, a report, and an alert.

    DATABASE_URL=embedded: python nightly_import.py start FOLDER 2026-11-29
    DATABASE_URL=embedded: python nightly_import.py work

Start the same night twice, and there is one workflow.  Kill the worker half-way and start it
again: what has ended does not run again.  A file with a bad line fails its part, and the alert
names it.  Mend the file, then run the part and what is behind it again:

    awa workflow list
    awa workflow show 1
    awa workflow retry 1
"""

from __future__ import annotations

import csv
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import awa_lib as awa

worker = awa.AsyncClient(os.environ["DATABASE_URL"])
worker.queue("imports", concurrency=8)
database = awa.Client(os.environ["DATABASE_URL"], kinds=worker.kinds)


@dataclass
class Part:
    file: str


@dataclass
class Merge:
    pass


@dataclass
class Report:
    folder: str


@dataclass
class Alert:
    folder: str


@worker.task(Part, queue="imports", result=True)
def import_part(job: awa.Job[Part]) -> dict[str, float]:
    rows, total = 0, 0.0
    with Path(job.args.file).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                total += float(row["value"])
            except ValueError:
                # Another attempt would read the same: the job fails at once.
                raise awa.TerminalError(f"line {rows + 2} holds no number") from None
            rows += 1
    return {"rows": rows, "total": total}


@worker.task(Merge, queue="imports", result=True)
async def merge(job: awa.Job[Merge]) -> dict[str, float]:
    parts = await worker.task_result(job.workflow_id, "parts")
    return {name: sum(part[name] for part in parts) for name in ("rows", "total")}


@worker.task(Report, queue="imports")
def report(job: awa.Job[Report]) -> None:
    merged = database.task_result(job.workflow_id, "merge")
    text = f"{merged['rows']} rows, {merged['total']} in all\n"
    Path(job.args.folder, "report.txt").write_text(text, encoding="utf-8")


@worker.task(Alert, queue="imports")
def alert(job: awa.Job[Alert]) -> None:
    failed = database.list_workflow_tasks(job.workflow_id, group="parts", state="failed")
    text = f"{failed[0].name} of workflow {job.workflow_id} failed\n"
    Path(job.args.folder, "alert.txt").write_text(text, encoding="utf-8")


def start(folder: str, night: str) -> None:
    database.migrate()
    files = sorted(str(path.resolve()) for path in Path(folder).glob("*.csv"))
    with database.workflow("import", key=night, on_conflict="keep") as flow:
        parts = flow.add_many((Part(file) for file in files), name="parts")
        merged = flow.add(Merge(), name="merge", result_of=parts)
        flow.add(Report(folder), name="report", result_of=merged)
        flow.add(Alert(folder), name="alert", after=parts, when="any_failed")
    print(f"workflow {flow.id}", "was inserted" if flow.created else "is there already")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start", folder, night]:
            start(folder, night)
        case ["work"]:
            awa.run(worker)
        case _:
            sys.exit(__doc__)
