"""The daily look finds what is planted and nothing where nothing is; its figures are those that were put in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import psycopg
import pytest

from flytewheel.recipe.upkeep import QualitySpec
from flytewheel.upkeep.pages import describe_report
from flytewheel.upkeep.quality import Period, _judge_rates, _judge_rewards, look_at_quality
from flytewheel.upkeep.reports import Report, keep_report, list_reports
from tests.upkeep.crowd import NOW, Crowd, fill, note_import, recipe

STEADY = Crowd()


def look(database_url: str, **quality: object) -> Report:
    return look_at_quality(database_url, recipe(upkeep={"quality": quality}), now=NOW)


def test_a_day_like_the_others_is_no_alarm_and_its_figures_are_right(database_url: str) -> None:
    fill(database_url, STEADY, seed=1)
    note_import(database_url, 1000, {"not JSON": 4, "conflict": 9, "unknown interaction": 20})
    found = look(database_url)
    assert found.alarms == ()
    figures = found.figures
    assert figures["interactions"] == STEADY.a_day
    assert figures["capture_rate"] == pytest.approx(0.3, abs=0.08)
    assert figures["capture_rate_before"] == pytest.approx(0.3, abs=0.02)
    assert figures["events"] == sum(figures["events_by_type"].values())
    assert figures["capture_rate"] == pytest.approx(figures["events"] / 400, abs=1e-4)
    assert figures["mean_reward_before"] == pytest.approx(0.4, abs=0.1)
    assert 0 < figures["newest_interaction_hours"] < 1
    assert (figures["lines_imported"], figures["schema_faults"]) == (1000, 4)
    page = describe_report(found)
    assert "nothing" in page
    assert "<svg" in page


@pytest.mark.parametrize(
    ("change", "alarm"),
    [
        ({"last_answered": 0.08}, "the capture rate fell from "),
        ({"last_liked": 0.25, "last_answered": 0.6}, "rewards shifted: +0."),
        ({"last_a_day": 0}, "the newest interaction is 2"),
    ],
    ids=["fewer reactions", "other reactions", "no interactions"],
)
def test_what_is_planted_is_found(change: dict[str, float], alarm: str, database_url: str) -> None:
    fill(database_url, replace(STEADY, **change), seed=2)  # type: ignore[arg-type]
    found = look(database_url)
    assert [each[: len(alarm)] for each in found.alarms][:1] == [alarm]
    assert alarm[:20] in describe_report(found).replace("&#x27;", "'")


def test_lines_that_are_no_event_and_a_full_quarantine_are_found(database_url: str) -> None:
    fill(database_url, STEADY, seed=3)
    note_import(database_url, 1000, {"not JSON": 15, "conflict": 45})
    assert look(database_url).alarms == (
        "60 of 1,000 imported lines are in quarantine (6.0%)",
        "15 of 1,000 imported lines are no interaction or event (1.5%)",
    )
    assert look(database_url, max_quarantined=0.1, max_schema_faults=0.1).alarms == ()


def test_an_empty_database_is_one_alarm_and_a_quiet_night_none(database_url: str) -> None:
    (alarm,) = look(database_url).alarms
    assert alarm.startswith("nothing was ever stored: is the router's feedback stream the recipe's")
    fill(database_url, replace(STEADY, last_a_day=20, last_answered=0.0), seed=4)
    assert look(database_url).alarms == ()  # too few to tell


def test_what_comes_after_now_and_other_streams_do_not_count(database_url: str) -> None:
    fill(database_url, STEADY, seed=5)
    before = look(database_url).figures
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE interactions SET source = 'other' WHERE interaction_id IN"
            " (SELECT interaction_id FROM interactions WHERE stored_at >= %s LIMIT 100)",
            (NOW - timedelta(hours=24),),
        )
        connection.execute(
            "UPDATE interactions SET stored_at = %s WHERE interaction_id IN (SELECT interaction_id FROM interactions"
            " WHERE source = 'demo' AND stored_at >= %s LIMIT 50)",
            (NOW + timedelta(hours=1), NOW - timedelta(hours=24)),
        )
    assert look(database_url).figures["interactions"] == before["interactions"] - 150


def test_chance_alone_calls_nobody() -> None:
    """1,000 days of one steady crowd: at most the alarms that the level allows, whatever the crowd's size."""
    spec, draws, called = QualitySpec(), np.random.default_rng(6), 0
    for number in range(1000):
        size = int((60, 200, 2000)[number % 3])
        before, recent = (_draw_period(draws, size * times) for times in (4, 1))
        called += bool(_judge_rates(before, recent, spec) or _judge_rewards(before, recent, spec))
    assert called <= 5


def _draw_period(draws: np.random.Generator, users: int) -> Period:
    own = draws.beta(1.5, 3.5, users)
    captured = draws.binomial(5, own) / 5
    rewards = 2.0 * draws.binomial(1, draws.beta(2.8, 1.2, users)) - 1
    rate = float(captured.mean())
    return Period(users * 5, captured, captured, rate, rate, {}, rewards)


def test_a_report_is_kept_once_for_an_execution(database_url: str) -> None:
    report = Report("quality", "demo", {"interactions": 3, "rewards": {"edges": [1.0]}}, ("amiss",))
    keep_report(database_url, report, "f1")
    keep_report(database_url, replace(report, alarms=()), "f1")
    keep_report(database_url, replace(report, alarms=()), "f2")
    with psycopg.connect(database_url) as connection:
        (began,) = connection.execute("SELECT min(at) FROM upkeep_reports").fetchall()[0]
    first, second = list_reports(database_url, "demo", since=began)
    assert first == report
    assert second.alarms == ()
    message = first.to_message("f1", NOW)
    assert (message.severity, message.title, message.facts) == (
        "warning", "data quality: amiss", {"interactions": "3"},
    )  # fmt: skip
