"""A web app with a worker in a process of its own.

    DATABASE_URL=postgresql:///thumbs flask --app flask_app run
    DATABASE_URL=postgresql:///thumbs awa worker flask_app:worker --queue thumbs=4

The requests use the blocking client, the handlers are registered on the async one; both know what
is declared for a kind.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from flask import Flask, abort, request

import awa_lib as awa

app = Flask(__name__)
worker = awa.AsyncClient(os.environ["DATABASE_URL"])
jobs = awa.Client(os.environ["DATABASE_URL"], kinds=worker.kinds)


@dataclass
class Digest:
    text: str


@worker.task(Digest, queue="thumbs", unique=awa.Unique(by="args"))
def digest(job: awa.Job[Digest]) -> None:
    value = hashlib.sha256(job.args.text.encode()).hexdigest()
    with jobs.transaction() as tx:
        tx.execute("INSERT INTO digests VALUES ($1, $2) ON CONFLICT DO NOTHING", job.id, value)


@app.cli.command("init-db")
def init_db() -> None:
    """Make the tables: flask --app flask_app init-db."""
    jobs.migrate()
    with jobs.transaction() as tx:
        tx.execute("CREATE TABLE IF NOT EXISTS digests (job bigint PRIMARY KEY, value text)")


@app.post("/digests")
def enqueue():
    text = request.get_data(as_text=True)
    # The same text posted twice while the first still waits is one job.
    job = jobs.insert(Digest(text), on_conflict="return_existing")
    return {"job": job.id}, 202


@app.get("/digests/<int:job_id>")
def result(job_id: int):
    with jobs.transaction() as tx:
        row = tx.fetch_optional("SELECT value FROM digests WHERE job = $1", job_id)
    if row is not None:
        return {"value": row["value"]}
    try:
        return {"state": str(jobs.get_job(job_id).state)}, 202
    except awa.JobNotFound as error:
        abort(404, str(error))
