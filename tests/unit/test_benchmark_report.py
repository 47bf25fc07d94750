"""What the report makes of its lines: ratios, spreads, bars and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import bars, growth, report
from benchmarks.cases import CASES, MAIN, STATEMENTS
from benchmarks.results import Log, Results, Spread

HEAD = {
    "machine": {
        "cpus": 2, "cpu": "one", "system": "Linux 6", "awa": "0.1.0", "memory_gib": 24,
        "python": "3.11.7", "postgres": "18.6", "settings": {"fsync": "on"},
    },
    "command": "python -m benchmarks report --short", "at": 1_700_000_000,
}  # fmt: skip


def lines(case: str, **rates: list[float]) -> list[dict[str, Any]]:
    figure = CASES[case].figure
    return [
        {"case": case, "who": who.replace("_", " "), "rep": rep, figure: rate}
        for who, found in rates.items()
        for rep, rate in enumerate(found)
    ]


def verdicts(results: Results) -> dict[tuple[str, str], str]:
    return {(bar.what, bar.bar): found.verdict for bar in bars.BARS if (found := bar.find(results))}


def test_a_figure_is_the_median_between_its_ends() -> None:
    results = Results(lines("drain", awa=[30, 10, 80]))

    assert results.spread("drain", "awa", "jobs_per_second") == Spread(30, 10, 80)
    assert results.spread("drain", "pgqueuer", "jobs_per_second") is None


def test_the_best_peer_is_neither_awa_nor_its_bare_statements() -> None:
    results = Results(
        lines("drain", awa=[50], bare_statements=[90], chancy=[10], pgqueuer=[20])
        + lines("latency", awa=[1.0], chancy=[4.0], pgqueuer=[2.0])
    )
    others = ["awa", "chancy", "pgqueuer"]

    assert results.best_peer("drain", "jobs_per_second", others, more=True) == "pgqueuer"
    assert results.ratio("drain", "awa", "pgqueuer", "jobs_per_second", more=True) == 2.5
    # Less is better: twice as good is half as long.
    assert results.best_peer("latency", "p50_ms", others, more=False) == "pgqueuer"
    assert results.ratio("latency", "awa", "pgqueuer", "p50_ms", more=False) == 2.0


def test_a_bar_is_met_at_its_number_and_missed_below_it() -> None:
    met = Results(lines("drain", awa=[23], pgqueuer=[10], bare_statements=[30]))
    missed = Results(lines("drain", awa=[22, 1, 90], pgqueuer=[10], bare_statements=[40]))
    times, part = ("Drain, one process", "at least 2.3 × pgqueuer"), (
        "Drain, one process", "at least 75 % of: bare statements",
    )  # fmt: skip

    assert verdicts(met) == {times: "met", part: "met"}
    assert verdicts(missed) == {times: "missed by 4 %", part: "missed by 27 %"}


def test_a_bar_against_the_best_peer_takes_the_best_of_the_run() -> None:
    results = Results(lines("bulk", awa=[100], chancy=[20], pgqueuer=[50]))

    assert verdicts(results) == {("1,000 jobs per commit", "at least 2.5 × the best peer"):
                                 "missed by 20 %"}  # fmt: skip


def test_bars_of_growth_take_the_worst_point() -> None:
    results = Results([
        {"curve": "pages", "point": 1_000_000, "slowest_ms": 20.0},
        {"curve": "pages", "point": 10_000_000, "slowest_ms": 360.0},
        {"curve": "waiting", "point": 20_000, "worker_rss_mib": 99.0},
        {"curve": "waiting", "point": 1_000_000, "worker_rss_mib": 60.0},
        {"curve": "scheduled", "point": "2,000 a second", "p99_ms": 400.0},
        {"curve": "scheduled", "point": "at once", "p99_ms": 9000.0},
    ])  # fmt: skip

    assert verdicts(results) == {
        ("Worker with a million waiting", "at most 60 MiB"): "met",
        ("2,000 jobs due a second, p99", "at most 500 ms"): "met",
        ("The slowest page or list", "at most 300 ms"): "missed by 20 %",
    }


def test_a_flow_is_flat_when_its_end_is_like_its_beginning() -> None:
    ends = {"first_p50_ms": 4.0, "last_p50_ms": 8.0, "first_p99_ms": 5.0, "last_p99_ms": 15.0,
            "first_server_cpu": 0.2, "last_server_cpu": 0.2}  # fmt: skip
    results = Results([{"case": "pinned", "who": "awa", "rep": 0, **ends}])

    assert list(verdicts(results).values()) == ["met", "missed by 50 %", "met"]


def test_a_line_that_a_broken_run_left_half_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with Log(str(path)) as log:
        log.add(HEAD)
        log.add(lines("drain", awa=[1])[0])
    with path.open("a") as file:
        file.write('{"case": "drain", "who": "aw')

    results = Results(Results.lines(path))

    assert results.heads == [HEAD]
    assert results.whos("drain") == ["awa"]


def test_a_case_takes_turns_in_each_repetition() -> None:
    chosen = report.arguments(["--only", "drain", "--peers", "awa,chancy", "--reps", "2"])

    assert [(rep, peer.name) for _, rep, peer in report.turns(chosen)] == [
        (0, "awa"), (0, "chancy"), (0, STATEMENTS), (1, "awa"), (1, "chancy"), (1, STATEMENTS),
    ]  # fmt: skip


def test_the_short_report_takes_a_quarter_of_an_hour() -> None:
    chosen = report.arguments(["--short"])
    seconds = report.estimate(chosen, report.sizes_of(short=True, jobs=None))
    seconds += growth.estimate(list(growth.CURVES), growth.Size(short=True), 1)

    assert seconds < 16 * 60


@pytest.mark.parametrize("words", [["--only", "drian"], ["--peers", "celery"]])
def test_an_unknown_name_is_told_with_those_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        report.arguments(words)

    assert "there are" in capsys.readouterr().err


def test_no_name_is_both_a_case_and_a_curve() -> None:
    names = [*report.TABLES, *CASES, *growth.CURVES]

    assert len(names) == len(set(names))


def test_the_page_has_figures_failures_and_the_same_plots_each_time(tmp_path: Path) -> None:
    page = pytest.importorskip("benchmarks.page", exc_type=ImportError)
    (tmp_path / "index.md").write_text("```{toctree}\nreliability\nguides/roles\n```\n")
    results = Results([
        HEAD,
        *lines("drain", awa=[48_000, 40_000, 50_000], pgqueuer=[24_000], bare_statements=[60_000]),
        {"case": "drain", "who": "chancy", "rep": 0, "error": "Traceback\nno | room"},
        *lines("kinds", awa=[24_000]),
        {"curve": "waiting", "point": 20_000, "jobs_per_second": 30_000, "claim_ms": 2.5},
        {"curve": "pages", "point": 1_000_000, "slowest_ms": 20.0, "slowest": "jobs",
         "pages": {"jobs": {"ms": 20.0, "indexes": ["jobs_hot_pkey"]}}},
        {"curve": "scheduled", "point": "at once", "error": "it was late"},
    ])  # fmt: skip

    text = page.write(results, tmp_path).read_text()
    plots = {path: path.read_bytes() for path in tmp_path.rglob("*.svg")}
    again = page.write(results, tmp_path).read_text()

    assert "Measured on 2023-11-14 by `python -m benchmarks report --short`: 2 cores (one)" in text
    assert "pgqueuer: pgqueuer==1.6.0" in text
    assert "| **awa** | 48,000 | 40,000 – 50,000 | 2.00 |" in text
    assert "| pgqueuer | 24,000 | 24,000 – 24,000 | 1.00 |" in text
    assert "| chancy | failed: no \\| room |  |  |" in text
    assert "| two kinds | 24,000 (24,000 – 24,000), 50 % |" in text
    assert "| 20,000 | 30,000 | 2.5 |" in text
    assert "| jobs | 20 | `jobs_hot_pkey` |" in text
    assert "| at once | failed: it was late |" in text
    names = {path.name for path in plots}
    assert names == {"drain.svg", "growth-waiting.svg", "growth-pages.svg"}
    assert all(f"images/benchmarks/{name}" in text for name in names)
    assert again == text
    assert {path: path.read_bytes() for path in plots} == plots
    index = (tmp_path / "index.md").read_text()
    assert index == "```{toctree}\nreliability\nbenchmarks\nguides/roles\n```\n"


def test_each_case_and_curve_says_what_it_measures() -> None:
    for one in (*MAIN.values(), *growth.CURVES.values()):
        assert one.what.endswith(".")
