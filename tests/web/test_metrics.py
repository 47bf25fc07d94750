"""Metrics are in Prometheus's text format; dashboard and alerts use names that are really there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from fix_worker import QUICK

import awa_lib as awa
from awa_lib.db.drive import run

GRAFANA = Path(__file__).resolve().parents[2] / "docs" / "grafana"
SAMPLE = re.compile(
    r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?[0-9.e+-]+|NaN|\+Inf)'
)
WORDS = {
    "sum",
    "by",
    "max",
    "topk",
    "histogram_quantile",
    "clamp_min",
    "time",
    "avg_over_time",
    "on",
    "unless",
    "and",
    "or",
    "label_values",
    "le",
}


@pytest.fixture
async def full(api, database_url, add, db):
    """A database that has a sample of every metric."""
    client = awa.AsyncClient(database_url)

    @client.task(dict, kind="mail", queue="email")
    async def mail(job):
        return None

    client.queue_descriptor("email", display_name='E-"mail"\\', tags=["a", "b"])
    client.periodic("nightly", "0 2 * * *", dict, {}, kind="mail", queue="email")
    add(
        "completed",
        kind="mail",
        queue="email",
        run_at="now",
        attempted_at="now",
        finalized_at="now",
    )
    add("failed", kind="mail", queue="email", finalized_at="now")
    dead = add("failed", kind="mail", queue="dead")
    db.execute("UPDATE awa.cron_jobs SET last_enqueued_at = now()")
    await client.start([("email", 2)], **QUICK)
    db.execute("UPDATE awa.cron_jobs SET last_enqueued_at = now()")
    await client.move_failed_to_dlq(dead)
    db.execute("ANALYZE")
    yield (await api.get("/metrics")).text
    await client.close()


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        labels = dict(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
        found.setdefault(match[1], []).append((labels, float(match[3])))
    return found


async def test_the_text_is_well_formed(full) -> None:
    declared = set()
    for line in full.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in declared
            declared.add(name)
    for name in samples(full):
        assert re.sub(r"_(bucket|sum|count)$", "", name) in declared or name in declared


async def test_it_says_what_is_there(full) -> None:
    found = samples(full)

    depth = {(l["awa_job_queue"], l["awa_job_state"]): v for l, v in found["awa_queue_depth"]}
    assert depth["email", "failed"] == 1
    assert found["awa_up"] == [({}, 1.0)]
    assert found["awa_dead_letters"] == [({"awa_job_queue": "dead"}, 1.0)]
    rates = {l["awa_job_state"]: v for l, v in found["awa_job_ended_per_second"]}
    assert rates["failed"] == pytest.approx(1 / 300)
    assert found["awa_job_recent_run_seconds_count"] == [({"awa_job_queue": "email"}, 1.0)]
    roles = {l["awa_runtime_role"]: v for l, v in found["awa_runtime_instances"]}
    assert roles["live"] == 1
    assert [l["awa_cron_name"] for l, _ in found["awa_cron_next_fire_timestamp_seconds"]] == [
        "nightly"
    ]


async def test_workflows_are_counted_by_state(api, database_url, db) -> None:
    with awa.Client(database_url) as client:
        for name in ("open", "ended"):
            with client.workflow(name) as flow:
                parts = flow.add_many([{}, {}], kind="part")
                flow.add({}, kind="merge", after=parts)
                flow.add({}, kind="alert", after=parts, when="any_failed")
        client.cancel_workflow(flow.id)
    db.execute("UPDATE awa.workflows SET skipped = 3 WHERE id = %s", (flow.id,))

    found = samples((await api.get("/metrics")).text)

    assert found["awa_workflow_open"] == [({}, 1.0)]
    tasks = {l["awa_workflow_task_state"]: v for l, v in found["awa_workflow_tasks"]}
    assert (tasks["waiting"], tasks["started"], tasks["cancelled"]) == (2, 2, 0)
    ended = {l["awa_workflow_state"]: v for l, v in found["awa_workflow_ended_per_second"]}
    assert ended == {"succeeded": 0, "failed": 0, "cancelled": pytest.approx(1 / 300)}
    assert found["awa_workflow_tasks_skipped_per_second"][0][1] == pytest.approx(3 / 300)


async def test_many_ends_of_workflows_are_a_rate_over_less_time(database_url, db) -> None:
    from awa_lib.reads.metrics import _WORKFLOWS_LIMIT, workflow_counts

    db.execute(
        "INSERT INTO awa.workflows (name, state, finished_at)"
        " SELECT 'w', 'failed', now() - n * interval '1 ms' FROM generate_series(1, %s) AS n",
        (_WORKFLOWS_LIMIT + 5_000,),
    )

    counts = run(db, workflow_counts())

    assert counts.ended["failed"] == pytest.approx(1_000, rel=0.5)
    assert counts.open == 0


async def test_histograms_are_cumulative_and_end_at_infinity(full) -> None:
    buckets = samples(full)["awa_job_recent_wait_seconds_bucket"]
    values = [value for _, value in buckets]

    assert values == sorted(values)
    assert buckets[-1][0]["le"] == "+Inf"
    assert values[-1] == 1


async def test_a_name_cannot_add_a_sample(api, add) -> None:
    add(queue='x"} 1\nawa_up{y="')

    found = samples((await api.get("/metrics")).text)

    assert found["awa_up"] == [({}, 1.0)]
    assert len({l["awa_job_queue"] for l, _ in found["awa_queue_depth"]}) == 1


async def test_scrapes_of_many_cost_one_read(database_url, look) -> None:
    from fix_web import web_client

    async with web_client(database_url, scrape_seconds=60.0) as client:
        first = (await client.get("/metrics")).text
        again = (await client.get("/metrics")).text

    assert first == again


def used(expression: str) -> set[str]:
    """Return the metric names of an expression: identifiers that are neither words nor labels."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on) \([^)]*\)", " ", bare)
    names = set(re.findall(r"[a-z_][a-z0-9_]*", bare))
    return {name for name in names if name not in WORDS and name != "awa_job_queue"}


def expressions() -> list[tuple[str, str]]:
    dashboard = json.loads((GRAFANA / "awa-dashboard.json").read_text())
    found = [
        (panel["title"], target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    found += [
        ("variable", one["definition"])
        for one in dashboard["templating"]["list"]
        if "definition" in one
    ]
    rules = yaml.safe_load((GRAFANA / "awa-alerts.yaml").read_text())
    return found + [
        (rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]
    ]


async def test_every_expression_names_metrics_and_labels_that_are_there(full) -> None:
    found = samples(full)
    labels = {label for every in found.values() for one, _ in every for label in one}
    assert len(expressions()) > 35
    for title, expression in expressions():
        names = used(expression)
        assert names, title
        assert names <= found.keys(), (title, names - found.keys())
        asked = re.findall(r"([a-z_]+)=~?\"", expression)
        asked += [
            one
            for text in re.findall(r"\b(?:by|on) \(([^)]+)\)", expression)
            for one in text.split(", ")
        ]
        assert set(asked) <= labels | {"le"}, (title, set(asked) - labels)


def test_the_dashboard_is_one() -> None:
    dashboard = json.loads((GRAFANA / "awa-dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]

    assert len(ids) == len(set(ids))
    for panel in dashboard["panels"]:
        assert {"type", "title", "gridPos"} <= set(panel)
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(GRAFANA / "awa-alerts.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_promtool_takes_the_text(full) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=full, capture_output=True, text=True, check=False
    )

    assert done.returncode in {0, 3}, done.stderr  # 3: remarks on style
    assert "error while linting" not in done.stderr
