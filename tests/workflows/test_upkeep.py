"""The scheduled workflows as Flyte's local execution runs them, on real services; and one that really fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flytewheel.local.services import Services
from flytewheel.recipe import Recipe
from registry.store import ObjectStore
from registry.versions import Registry
from tests.notify.schemas import PAGERDUTY, SLACK, check
from tests.notify.servers import Heard, run_http, run_smtp
from tests.notify.test_payloads import KEY
from workflows import upkeep

RECIPE = Recipe.model_validate(
    {
        "name": "demo",
        "base": {"model": "pocket"},
        "automation": {
            "notify": {"email": ["team@example.org"]},
            "upkeep": {"calibration": {"runs": 3, "users": 120, "days": 2}, "retention": {"interactions_days": 30}},
        },
    }
)


@pytest.fixture
def http() -> Iterator[Heard]:
    with run_http() as heard:
        yield heard


@pytest.fixture
def smtp() -> Iterator[Heard]:
    with run_smtp() as heard:
        yield heard


@pytest.fixture
def place(
    database_url: str,
    store: ObjectStore,
    services: Any,
    tmp_path: Path,
    http: Heard,
    smtp: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> Services:
    """The services that the tasks of this process find, and the channels in its environment."""
    found = Services(
        home=tmp_path / "home",
        database_url=database_url,
        s3_url=services.s3_url,
        s3_access_key=services.s3_access_key,
        s3_secret_key=services.s3_secret_key,
        s3_region=None,
        s3_bucket=store.bucket,
        router_url="",
        admin_key="",
        assignment_key="",
    )
    monkeypatch.setattr("tasks.services.ensure_services", lambda settings, announce: found)
    monkeypatch.setenv("FLYTEWHEEL_DATABASE_URL", database_url)
    monkeypatch.setenv("FLYTEWHEEL_SLACK_WEBHOOK", f"{http.url}/services/secret")
    monkeypatch.setenv("FLYTEWHEEL_PAGERDUTY_KEY", KEY)
    monkeypatch.setenv("FLYTEWHEEL_PAGERDUTY_URL", f"{http.url}/v2/enqueue")
    monkeypatch.setenv("FLYTEWHEEL_SMTP_URL", smtp.url)
    return found


def test_each_scheduled_workflow_runs_and_leaves_its_report(place: Services, http: Heard, smtp: Heard) -> None:
    assert upkeep.nightly_calibration(recipe=RECIPE) == "statistics: nothing amiss"
    assert upkeep.weekly_retention(recipe=RECIPE) == "retention: nothing amiss"
    assert http.bodies == []
    assert upkeep.daily_data_quality(recipe=RECIPE).startswith("data quality: nothing was ever stored")
    ((path, told),) = http.bodies  # a warning: Slack and mail hear of it, nobody is woken
    assert path == "/services/secret"
    check(SLACK, told)
    text = upkeep.daily_summary(recipe=RECIPE)
    assert "data quality: nothing was ever stored" in text
    assert "statistics: nothing amiss" in text
    assert upkeep.weekly_summary(recipe=RECIPE).startswith("Turns\n- nothing")
    subjects = [mail["Subject"] for mail in smtp.mails]
    assert [subject.partition("demo: ")[2].partition(",")[0].partition(": ")[0] for subject in subjects] == [
        "data quality", "daily summary", "weekly summary",
    ]  # fmt: skip
    assert {tuple(to) for to in smtp.recipients} == {("team@example.org",)}
    with psycopg.connect(place.database_url) as connection:
        kinds = connection.execute("SELECT kind FROM upkeep_reports ORDER BY kind").fetchall()
    assert [kind for (kind,) in kinds] == ["calibration", "quality", "retention"]


def test_a_workflow_that_fails_is_in_the_registrys_log_and_told_once_with_its_station(
    place: Services, store: ObjectStore, http: Heard, smtp: Heard, capfd: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(place.database_url) as connection:
        connection.execute("DROP TABLE imports")
    for _ in range(2):  # Flyte may run a failure node again
        with pytest.raises(Exception, match='relation "imports" does not exist'):
            upkeep.daily_data_quality(recipe=RECIPE)
    (entry,) = Registry(store).log("demo")
    assert (entry["what"], entry["station"]) == ("failure", "check_quality")
    assert entry["execution"].startswith("local-")
    assert "relation" in entry["cause"]
    assert "\n" not in entry["cause"]
    bodies = dict(http.bodies)
    assert len(http.bodies) == 2
    check(SLACK, bodies["/services/secret"])
    check(PAGERDUTY, bodies["/v2/enqueue"])
    event = bodies["/v2/enqueue"]
    assert event["event_action"] == "trigger"
    assert event["payload"]["summary"].startswith("check_quality failed: ")
    assert event["payload"]["custom_details"]["execution"] == entry["execution"]
    (mail,) = smtp.mails
    assert "check_quality failed" in mail["Subject"]
    said = capfd.readouterr()
    assert "✗ station check_quality failed: " in said.out + said.err
    assert KEY not in said.out + said.err
