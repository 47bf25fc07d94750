"""The page of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.documents.encoding import encode
from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, fact_lines, json_lines, progress_lines
from awa_cli.views.facts import job_commands, job_facts, sleep_words
from awa_cli.views.states import STATE_STYLES
from awa_cli.views.words import clean, say_seconds
from awa_lib.reads.attempts import FAULTLESS

if TYPE_CHECKING:
    from awa_lib.reads.attempts import JobAttempt
    from awa_lib.reads.job_dumps import JobDump, JobEvent, JobStep

__all__ = ["job_page"]


def job_page(dump: JobDump, *, color: bool) -> str:
    """Return the page of a job."""
    job, paint = dump.job, Paint(color=color)
    state = paint(job.state, STATE_STYLES.get(job.state, ""))
    title, limit = paint(f"Job {job.id}", "bold"), dump.summary.max_attempts
    lines = [
        f"{title}  {clean(job.kind)}  {state}  attempt {job.attempt} of {limit}",
        "",
        *fact_lines(job_facts(dump), paint),
    ]
    if job.progress:
        lines += ["", *progress_lines(job.progress, paint)]
    lines += ["", paint("Args", "bold"), *json_lines(job.args)]
    if job.metadata:
        lines += ["", paint("Metadata", "bold"), *json_lines(job.metadata)]
    if (result := dump.result) is not None:
        kept = f"{result.size_bytes:,} bytes, kept until {encode(result.expires_at)[:19]}Z"
        lines += ["", f"{paint('Result', 'bold')}  {paint(kept, 'dim')}"]
        lines += json_lines(result.value)
    lines += ["", paint("Timeline", "bold"), *[_event(event, paint) for event in dump.timeline]]
    if any(one.worker or one.seconds is not None for one in dump.attempts):
        lines += ["", paint("Attempts", "bold"), *[_attempt(one, paint) for one in dump.attempts]]
    if dump.steps:
        lines += ["", paint("Steps", "bold"), *[_step(one, paint) for one in dump.steps]]
    # An attempt that runs, or waits, is not told by the error of an earlier one.
    if dump.summary.latest_error is not None and job.state not in FAULTLESS:
        text = str(dump.summary.latest_error.get("error", ""))
        lines += ["", paint("Latest error", "bold")]
        lines += [INDENT + paint(clean(line), "red") for line in text.splitlines()]
    if actions := job_commands(dump):
        lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _attempt(one: JobAttempt, paint: Paint) -> str:
    long = "" if one.seconds is None else say_seconds(one.seconds)
    number = "" if one.attempt is None else str(one.attempt)
    who = "" if one.worker is None else f"on {clean(one.worker)}"
    of_app = "" if one.app_version is None else f"  {clean(one.app_version)}"
    style = "red" if one.outcome in {"failed", "crashed"} else ""
    rest = f"  {long:>6}  {who}{of_app}".rstrip()
    outcome = paint(f"{one.outcome:<9}" if rest else one.outcome, style)
    return f"{INDENT}{number:>3}  {outcome}{rest}"


def _step(one: JobStep, paint: Paint) -> str:
    moment = paint(encode(one.ended_at)[:19] + "Z", "dim")
    over = sleep_words(one)
    rest = f"  {paint(over, 'dim')}" if over else ""
    return f"{INDENT}{moment}  {say_seconds(one.seconds):>6}  {clean(one.name)}{rest}"


def _event(event: JobEvent, paint: Paint) -> str:
    style = "red" if event.is_error else ""
    first = (event.detail or "").partition("\n")[0]
    detail = f": {clean(first)}" if first else ""
    moment = paint(event.timestamp[:19] + "Z", "dim")
    return f"{INDENT}{moment}  {paint(event.label + detail, style)}"
