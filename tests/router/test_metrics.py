"""Metrics: what several processes count is added up, outlives a kill −9, and reads as Prometheus wants it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from router.cells import Cells
from router.metrics import SCORES, SECONDS, Metrics
from router.tallies import Count, Family
from tests.router.live import ROOT

WORKER = """
import os, signal, sys
from pathlib import Path
from router.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    metrics.count_call("m", "v1", "control", "200", first_s=0.004, last_s=0.3, tokens={"completion_tokens": 7})
metrics.in_flight.inc()
print("counted", flush=True)
if sys.argv[3] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
"""


def scrape(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name, then by labels, through prometheus_client's own parser."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def start_worker(folder: Path, count: int, ends: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(count), ends],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


def test_workers_count_together_and_what_a_killed_one_counted_stays(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    start_worker(tmp_path, 5, "dies").communicate()
    living = start_worker(tmp_path, 3, "lives")
    try:
        found = scrape(metrics)
        arm = {"name": "m", "version": "v1", "arm": "control"}
        assert found["flytewheel_requests_total"][labels(**arm, status="200")] == 8
        assert found["flytewheel_tokens_total"][labels(**arm, kind="completion")] == 56
        assert found["flytewheel_latency_seconds_count"][labels(**arm)] == 8
        assert found["flytewheel_latency_seconds_sum"][labels(**arm)] == pytest.approx(2.4)
        assert found["flytewheel_latency_seconds_bucket"][labels(**arm, le="0.25")] == 0
        assert found["flytewheel_latency_seconds_bucket"][labels(**arm, le="0.5")] == 8
        # The killed worker's request is not under way any more; its file was taken over, and counted on in.
        assert found["flytewheel_in_flight"][()] == 1
        assert len(list(tmp_path.glob("*.cells"))) == 2
    finally:
        living.communicate()
    assert scrape(metrics)["flytewheel_in_flight"][()] == 0


def test_buckets_hold_values_up_to_and_with_their_bound() -> None:
    metrics = Metrics()
    for reward in (-1.0, -0.5, 0.0, 0.4, 0.5, 1.0):
        metrics.count_feedback("rating", reward)
    buckets = scrape(metrics)["feedback_score_distribution_bucket"]
    edges = ("-1.0", "-0.5", "0.0", "0.5", "1.0", "+Inf")
    assert [buckets[labels(le=edge)] for edge in edges] == [1, 2, 3, 5, 6, 6]
    assert SCORES == (-1, -0.5, 0, 0.5, 1)
    assert SECONDS[0] == 0.001


def test_feedback_is_counted_by_known_tiers_and_conversions_by_arm() -> None:
    metrics = Metrics(tiers=frozenset({"pro"}))
    for tier in ("pro", None, 'evil"}\n', ["pro"], "free"):
        metrics.count_feedback("thumbs_up", 1.0, tier=tier, experiment_id="e1", name="m", version="v2", arm="treatment")
    metrics.count_feedback("thumbs_down", -1.0, experiment_id="e1", name="m", version="v1", arm="control")
    metrics.count_feedback("comment", None)
    found = scrape(metrics)
    events = found["feedback_events_total"]
    assert {
        dict(key)["user_tier"]: value for key, value in events.items() if dict(key)["feedback_type"] == "thumbs_up"
    } == {
        "pro": 1,
        "none": 1,
        "other": 3,
    }
    conversions = found["ab_test_conversions_total"]
    assert conversions[labels(experiment_id="e1", variant="treatment", converted="true")] == 5
    assert conversions[labels(experiment_id="e1", variant="control", converted="false")] == 1
    assert found["feedback_score_distribution_bucket"][labels(le="+Inf")] == 6


def test_a_family_never_grows_beyond_its_limit() -> None:
    family = Family(Cells(), Count, "counter", "many", "many", ("name",), limit=10)
    for number in range(1000):
        family.labels(f"n{number}").inc()
    assert family.labels("other").value == 990
    with pytest.raises(ValueError, match="has the labels name"):
        family.labels("a", "b")


def test_a_full_table_loses_counts_but_nothing_else() -> None:
    cells = Cells()
    kept = cells.reserve("kept", (), 1)
    for number in range(10_000):
        cells.view[cells.reserve("f", (f"{number:0200d}",), 17)] += 1
    assert cells.full > 0
    cells.view[kept] += 1
    assert [series.values for series in cells.read() if series.family == "kept"] == [(1.0,)]


def test_promtool_finds_nothing_to_complain_of() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: apt-get install prometheus brings it")
    metrics = Metrics()
    metrics.count_call("m", "v1", "control", "502")
    metrics.count_feedback("thumbs_up", 1.0)
    told: Any = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(metrics.registry), capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr.decode()
