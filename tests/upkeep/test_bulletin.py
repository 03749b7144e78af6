"""A summary tells what is in the tables of its span, to whom the recipe says, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from flytewheel import runs
from flytewheel.notify.telling import tell
from flytewheel.settings import read_settings
from flytewheel.upkeep.bulletin import parse_span, write_bulletin
from flytewheel.upkeep.pages import describe_bulletin
from tests.notify.servers import run_smtp
from tests.upkeep.crowd import NOW, Crowd, fill, recipe


def test_a_day_and_a_week_are_told(database_url: str) -> None:
    fill(database_url, Crowd(users=30, a_day=40), seed=1)
    run = runs.open_run(database_url, recipe(), {}, now=NOW, execution="f1")
    runs.finish_run(database_url, run.run_id, error="out of\nmemory", station="train_sft")
    old = runs.open_run(database_url, recipe().in_mode("incremental"), {}, now=NOW, execution="f0")
    runs.finish_run(database_url, old.run_id)
    with psycopg.connect(database_url) as connection:
        for run_id, hours in ((run.run_id, 3), (old.run_id, 70)):
            at = NOW - timedelta(hours=hours)
            connection.execute(
                "UPDATE runs SET started_at = %s, ended_at = %s WHERE run_id = %s",
                (at, at + timedelta(hours=1), run_id),
            )
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, state, control, treatment, share, body, launch_key)"
            " VALUES ('x', 'demo', 'running', 'v1', 'v2', 0.25, '{}', 'k')"
        )
        connection.execute(
            "INSERT INTO rollouts (rollout_id, name, experiment_id, state, stage)"
            " VALUES ('r', 'demo', 'x', 'active', 1)"
        )
        connection.execute(
            "INSERT INTO rollout_log (rollout_id, fence, actor, action, at) VALUES ('r', 1, 'ann', 'advance', %s),"
            " ('r', 1, 'hourly', 'hold', %s)",
            (NOW - timedelta(hours=2), NOW - timedelta(hours=1)),
        )
        connection.execute(
            "INSERT INTO upkeep_reports (kind, name, execution, report, alarms, at) VALUES"
            " ('quality', 'demo', 'f2', '{}', ARRAY['the capture rate fell'], %s)",
            (NOW - timedelta(hours=4),),
        )
    day = write_bulletin(database_url, recipe(), "daily", now=NOW)
    assert day.facts["interactions"].startswith("40 of ")
    assert (day.facts["turns"], day.facts["canaries running"], day.facts["alarms"]) == ("1", "1", "1")
    text = day.to_text()
    assert f"- {run.run_id} (full) failed at train_sft in 1.0 h: out of memory\n" in text
    assert "advance: v2 against v1 (25%), by ann" in text
    assert "hold" not in text
    assert "- x: v2 against v1, 25%, active at stage 1" in text
    assert "the capture rate fell" in text
    assert "the capture rate fell" in describe_bulletin(day)

    week = write_bulletin(database_url, recipe(), "weekly", now=NOW)
    assert week.facts["interactions"].startswith("280 of ")
    assert f"- {old.run_id} (incremental) ended in 1.0 h: no verdict" in week.to_text()
    assert week.to_message().key != day.to_message().key


def test_a_summary_goes_to_whom_the_recipe_names_once(database_url: str) -> None:
    with run_smtp() as smtp:
        settings = read_settings({"FLYTEWHEEL_SMTP_URL": smtp.url, "FLYTEWHEEL_MAIL_TO": "ops@example.org"})
        named = recipe(notify={"email": ["team@example.org"]})
        message = write_bulletin(database_url, named, "daily", now=NOW).to_message()
        for _ in range(2):
            tell(message, settings, database_url=database_url, mail_to=named.automation.notify.email)
        tell(replace(message, key="other"), settings, database_url=database_url)
    assert smtp.recipients == [["team@example.org"], ["ops@example.org"]]
    assert smtp.mails[0]["Subject"] == "[flytewheel] demo: daily summary, 2026-11-21 to 2026-11-22"
    body = smtp.mails[0].get_content().replace("\r\n", "\n")
    assert "\nTurns\n- nothing\n" in body
    assert "thumbs up         no votes" in body


def test_a_span_that_is_none_is_refused() -> None:
    assert parse_span("weekly") == "weekly"
    with pytest.raises(ValueError, match="expected one of daily, weekly"):
        parse_span("hourly")
