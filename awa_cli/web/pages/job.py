"""The page of a job: facts, timeline, attempts and actions, updated live."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from awa_cli.documents.encoding import encode
from awa_cli.views.attempts import latest_runs, retry_of
from awa_cli.views.facts import failure_of, job_commands, job_facts
from awa_cli.web import api
from awa_cli.web.pages.render import act, at, read, render
from awa_cli.web.pages.values import Source, answer
from awa_cli.web.scope import identity_of
from awa_lib.errors import JobNotFound
from awa_lib.reads.job_dumps import JobDump, dump_job
from awa_lib.reads.job_logs import latest_job_log
from awa_lib.states import CAN_RETRY, QUEUED
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib._sql import Op
    from awa_lib.models import Job
    from awa_lib.reads.job_dumps import JobRun
    from awa_lib.reads.job_logs import JobLog

# Longer ones are slow to draw, and nobody reads them on a page.
_MAX_DOCUMENT: Final = 100_000
# The page is drawn again at each change of the job.
_MAX_RECORDS: Final = 100

__all__ = ["cancel", "delete", "retry", "show"]


async def show(request: Request) -> Response:
    """Show a job."""
    dump, runs, log = await read(request, _dump(_id(request)))
    job, summary = dump.job, dump.summary
    progress = job.progress or {}
    waiting = job.state in QUEUED
    source = Source(f"Job {job.id}", at("jobs", job.id))
    values = {
        "args": job.args,
        "metadata": job.metadata,
        "result": None if dump.result is None else dump.result.value,
        "checkpoint": progress.get("metadata"),
        **{f"progress-{run.selected_attempt}": run.progress for run in runs},
    }
    if "value" in request.query_params:
        whole = {"job": encode(job)} if request.query_params["value"] == "job" else {}
        return await answer(request, source, values | whole)
    if "document" in request.query_params:
        return await _document(request, source, job)
    return await render(
        request,
        "job.html",
        part="parts/job.html",
        job=job,
        dump=dump,
        runs=[(run, retry_of(job, run)) for run in runs],
        facts=job_facts(dump),
        failure=failure_of(job),
        log=log,
        records=[] if log is None else log.records[-_MAX_RECORDS:],
        timeline=_timeline(dump),
        commands=[f"awa job show {job.id}", *job_commands(dump)],
        percent=progress.get("percent"),
        message=progress.get("message"),
        checkpoint=progress.get("metadata"),
        source=source,
        values=values,
        can={
            "retry": job.state in CAN_RETRY,
            "cancel": summary.can_cancel,
            "discard": not summary.can_cancel,
            "priority": waiting,
            "move": waiting,
        },
    )


async def _document(request: Request, source: Source, job: Job) -> Response:
    text = json.dumps(encode(job), indent=2, ensure_ascii=False)
    return await render(
        request,
        "parts/document.html",
        source=source,
        text=text if len(text) <= _MAX_DOCUMENT else None,
    )


def _dump(job_id: int) -> Op[tuple[JobDump, list[JobRun], JobLog | None]]:
    dump = yield from dump_job(job_id)
    runs = yield from latest_runs(dump.job)
    log = yield from latest_job_log(job_id)
    return dump, runs, log


def _timeline(dump: JobDump) -> list[tuple[Any, Any, float | None]]:
    """Return (time, event, seconds since the previous event)."""
    from datetime import datetime

    timeline: list[tuple[Any, Any, float | None]] = []
    for event in dump.timeline:
        at_ = datetime.fromisoformat(event.timestamp)
        gap = (at_ - timeline[-1][0]).total_seconds() if timeline else None
        timeline.append((at_, event, gap))
    return timeline


def _id(request: Request) -> int:
    job_id = int(request.path_params["job_id"])
    if not 0 < job_id <= INT64_MAX:
        raise JobNotFound(job_id)
    return job_id


async def retry(request: Request) -> Response:
    """Retry the job."""
    job_id = _id(request)
    return await act(
        request, api.jobs.retry(identity_of(request.scope), job_id), "job.retry", job_id
    )


async def cancel(request: Request) -> Response:
    """Cancel the job."""
    job_id = _id(request)
    op = api.jobs.cancel(identity_of(request.scope), job_id)
    return await act(request, op, "job.cancel", job_id)


async def delete(request: Request) -> Response:
    """Delete the job, and go to the list of jobs."""
    job_id = _id(request)
    op = api.jobs.delete(identity_of(request.scope), job_id)
    return await act(request, op, "job.delete", job_id, go=at("jobs"))
