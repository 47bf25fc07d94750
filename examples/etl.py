"""Load a CSV file of measurements into a table, in chunks, and survive being killed.

    DATABASE_URL=embedded: python etl.py measurements.csv

The job's checkpoint holds the last line that was loaded, so whoever goes on after a crash starts
there.  A chunk that was written when the crash came before its checkpoint is written again, which
the primary key makes harmless.
"""

from __future__ import annotations

import csv
import itertools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import awa_lib as awa

CHUNK = 500

worker = awa.AsyncClient(os.environ["DATABASE_URL"])
worker.queue("etl", concurrency=2)
database = awa.Client(os.environ["DATABASE_URL"], kinds=worker.kinds)


@dataclass
class Load:
    file: str


@worker.task(Load, queue="etl", unique=awa.Unique(by="args"))
def load(job: awa.Job[Load]) -> awa.Snooze | None:
    path = Path(job.args.file)
    with path.open(encoding="utf-8") as file:
        total = sum(1 for _ in file) - 1
    done = (job.progress or {}).get("metadata", {}).get("line", 0)
    with path.open(encoding="utf-8") as file:
        rows = itertools.islice(csv.DictReader(file), done, None)
        while chunk := list(itertools.islice(rows, CHUNK)):
            if job.is_cancelled():
                return awa.Snooze(0)  # the worker stops: the next one goes on from the checkpoint
            with database.transaction() as tx:
                tx.execute(
                    "INSERT INTO measurements SELECT $1, * FROM"
                    " unnest($2::int[], $3::text[], $4::float8[]) ON CONFLICT DO NOTHING",
                    path.name,
                    list(range(done + 1, done + len(chunk) + 1)),
                    [row["sensor"] for row in chunk],
                    [float(row["value"]) for row in chunk],
                )
            done += len(chunk)
            job.set_progress(100 * done // total, f"{done} of {total} lines")
            job.update_metadata({"line": done})
            job.flush_progress_sync()
    return None


def main(file: Path) -> None:
    database.migrate()
    with database.transaction() as tx:
        tx.execute(
            "CREATE TABLE IF NOT EXISTS measurements ("
            "file text, line int, sensor text, value float8, PRIMARY KEY (file, line))"
        )
    # Started again while the first load waits or runs, this finds its job and makes no other.
    database.insert(Load(str(file.resolve())), on_conflict="return_existing")
    awa.run(worker)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
