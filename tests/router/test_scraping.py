"""`/metrics` of a real router: what was counted, what is held, what is stored; also while the database is away."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.types.json import Jsonb

from flytewheel.database import connect
from flytewheel.drift.figures import read_figures
from tests.drift.test_triggers import NOW, add_interactions, add_run
from tests.router.live import LiveRouter, wait_until

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scrape(router: LiveRouter) -> Samples:
    answer = router.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def pick(samples: Samples, sample: str, /, **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(value for key, value in samples[sample].items() if set(labels.items()) <= set(key))


def test_a_request_and_its_reaction_are_counted(router: LiveRouter) -> None:
    name = f"metrics-{uuid.uuid4().hex[:8]}"
    version = router.serve(name, "word")
    answer = router.ask(name)
    router.ask(name, stream=True)
    proof = {
        "interaction_id": answer.headers["x-flytewheel-interaction"],
        "receipt": answer.headers["x-flytewheel-receipt"],
    }
    assert router.post("/v1/feedback", json=proof | {"feedback_type": "thumbs_up"}).status_code == 201
    arm = {"name": name, "version": version, "arm": "champion"}
    found = wait_until(
        lambda: next((seen for seen in [scrape(router)] if pick(seen, "flytewheel_requests_total", **arm) == 2), None),
        what="both requests counted",
    )
    assert pick(found, "flytewheel_requests_total", **arm, status="200") == 2
    assert pick(found, "flytewheel_first_token_seconds_count", **arm) == 2
    assert pick(found, "flytewheel_tokens_total", **arm, kind="completion") >= 8
    assert pick(found, "feedback_events_total", feedback_type="thumbs_up", user_tier="none") >= 1
    assert pick(found, "reward_mean", name=name, variant="champion") == 1.0
    assert pick(found, "flytewheel_backend_state", name=name, version=version, state="ready") == 1
    assert found["flytewheel_stored_age_seconds"][()] >= 0
    wait_until(lambda: pick(scrape(router), "flytewheel_in_flight") == 0, what="nothing under way")


def test_promtool_finds_nothing_to_complain_of(router: LiveRouter) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: apt-get install prometheus brings it")
    text = router.get("/metrics").content
    told = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert told.returncode == 0, told.stderr.decode()


def test_a_database_that_is_away_leaves_the_metrics_standing(make_router: Callable[[], LiveRouter]) -> None:
    router = make_router()
    router.environ["FLYTEWHEEL_DATABASE_URL"] = "postgresql://nobody:none@127.0.0.1:9/none"
    router.start(ready=False)
    found = router.send("GET", "/metrics")
    assert found.status_code == 200
    assert "flytewheel_requests_total" in found.text or "flytewheel_requests" in found.text
    assert "flytewheel_stored_age_seconds" not in found.text
    assert router.stop() == 0


def test_figures_of_runs_experiments_and_feedback(database_url: str) -> None:
    add_interactions(database_url, 10)
    add_run(database_url, hours_ago=3)
    with connect(database_url) as connection:
        run: dict[str, Any] = {"metrics": {"rouge_l": {"candidate": {"estimate": 0.5, "low": 0.4, "high": 0.6}}}}
        for station, report in (("register", {"version": "v1.1.1"}), ("evaluate", run)):
            connection.execute(
                "INSERT INTO run_stations (run_id, station, status, report) VALUES ('r3', %s, 'succeeded', %s)",
                (station, Jsonb(report)),
            )
        connection.execute("UPDATE runs SET started_at = %s, ended_at = %s", (NOW, NOW.replace(hour=15)))
        connection.execute(
            "INSERT INTO runs (run_id, name, recipe_digest, recipe, \"window\", status) VALUES ('bad', 'demo', 'd',"
            " '{}', '{}', 'failed')"
        )
        for number in range(4):
            connection.execute(
                "INSERT INTO feedback_events (event_id, interaction_id, source, user_id, feedback_type, timestamp,"
                " body, digest) VALUES (%s, %s, 'demo', 'u', 'thumbs_up', %s, '{}', 'd')",
                (f"e{number}", f"i{number // 2}", NOW),
            )
    figures = read_figures(database_url)
    assert figures.jobs == {"success": 1, "failed": 1}
    assert figures.durations == (0, 0, 1, 0, 0, 0)
    assert figures.duration_sum_s == 3 * 3600
    assert figures.quality == {("v1.1.1", "rouge_l"): 0.5}
    assert figures.captured == {("demo",): 0.2}
    assert figures.updates == {"treatment": 0, "champion": 0}
