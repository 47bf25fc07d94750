"""Count the words of every text file under a folder, one job a file.

    DATABASE_URL=embedded: python plain_script.py FOLDER

The script enqueues the files, works in its own process, and ends when the last job has ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])
client.queue("words", concurrency=8)
counted: dict[str, int] = {}


@dataclass
class CountWords:
    path: str


# A plain function runs in a thread, so reading a file does not hold up the others.
@client.task(CountWords, queue="words", retry_on=OSError)
def count_words(job: awa.Job[CountWords]) -> None:
    text = Path(job.args.path).read_text(encoding="utf-8")
    counted[job.args.path] = len(text.split())


async def main(files: list[Path]) -> None:
    async with client:
        await client.migrate()
        open_jobs = 0
        all_done = asyncio.Event()

        # Completed, failed, cancelled: a job that is tried again has not ended.
        @client.on_event(CountWords, awa.Completed, awa.Exhausted, awa.Failed, awa.Cancelled)
        async def ended(event: awa.Event) -> None:
            nonlocal open_jobs
            open_jobs -= 1
            if not isinstance(event, awa.Completed):
                print(f"could not count {event.args.path}", file=sys.stderr)
            if not open_jobs:
                all_done.set()

        jobs = [CountWords(str(path)) for path in files]
        open_jobs = len(await client.insert_many_copy(jobs))
        await client.start()
        await all_done.wait()
    for path, words in sorted(counted.items(), key=lambda item: -item[1])[:10]:
        print(f"{words:8}  {path}")
    print(f"{sum(counted.values()):8}  in {len(counted)} files")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = sorted(Path(sys.argv[1]).rglob("*.txt"))
    if not found:
        sys.exit(f"no .txt files under {sys.argv[1]}")
    asyncio.run(main(found))
