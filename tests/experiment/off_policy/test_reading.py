"""The command over a stored log: read as it was served, answered as table and JSON, refused with exit code 1."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from flytewheel.cli import main
from flytewheel.database import connect, migrate
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.off_policy.reading import read_answers
from flytewheel.offline_commands import _score
from tests.experiment.canary import Served, open_canary, store


@pytest.fixture
def canary(database_url: str) -> tuple[str, Experiment]:
    """400 users of a 50/50 split with two answers each; the treatment is liked, the control is not."""
    migrate(database_url)
    experiment = open_canary(database_url)
    rows = []
    for number in range(800):
        arm = ("control", "treatment")[number % 400 % 2]
        said = "thumbs_up" if (arm == "treatment") == (number % 5 > 0) else "thumbs_down"
        rows.append(Served(f"u{number % 400}", arm, said=((said, None),) if number % 4 < 2 else ()))
    store(database_url, experiment, rows)
    with psycopg.connect(database_url) as connection:  # of yesterday, and of a topic each
        connection.execute(
            "UPDATE interactions SET \"timestamp\" = now() - interval '1 day',"
            " body = body || jsonb_build_object('topic', 't' || (ctid::text::point)[1]::int % 2)"
        )
    return database_url, experiment


def run(monkeypatch: pytest.MonkeyPatch, url: str, *arguments: str) -> Any:
    from flytewheel import offline_commands

    class Services:
        database_url = url

    monkeypatch.setattr(offline_commands, "open_services", lambda **_: Services)
    return CliRunner().invoke(main, ["experiments", "offline", *arguments])


def test_the_log_is_read_with_its_rewards(canary: tuple[str, Experiment]) -> None:
    url, experiment = canary
    until = datetime.now(UTC)
    with connect(url) as connection:
        answers = read_answers(connection, experiment, until - timedelta(days=7), until, _score)
    assert (len(answers), answers.count_users, answers.arms) == (800, 400, ("control", "treatment"))
    assert set(answers.propensities) == {0.5}
    assert set(answers.topics) == {"t0", "t1"}
    treated = answers.actions == 1
    # Of the treatment's answers half were rated, four fifths of them up: 0.5 · (0.8 − 0.2).
    assert answers.rewards[treated].mean() == pytest.approx(0.3)
    assert answers.rewards[~treated].mean() == pytest.approx(-0.3)
    with connect(url) as connection:
        assert len(read_answers(connection, experiment, until, until + timedelta(days=1), _score)) == 0


def test_the_command_tells_and_refuses(canary: tuple[str, Experiment], monkeypatch: pytest.MonkeyPatch) -> None:
    url, experiment = canary
    told = run(monkeypatch, url, "demo", "--policy", "treatment", "--policy", "v1", "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    assert found["experiment"] == experiment.experiment_id
    treatment, control = found["answers"]
    assert [each["value"] for each in treatment["estimates"]] == pytest.approx([0.3, 0.3, 0.3], abs=0.01)
    assert control["difference"]["value"] == pytest.approx(-0.3, abs=0.01)
    text = run(monkeypatch, url, experiment.experiment_id, "--policy", "treatment=0.5,control=0.5")
    assert text.exit_code == 0, text.output
    assert "as good as 400 users" in text.output
    assert "SNIPS" in text.output
    refused = run(monkeypatch, url, "demo", "--policy", "treatment", "--least-users", "300")
    assert refused.exit_code == 1
    assert "refused: treatment: the log says as much of it as 200 users would, and 300 are needed" in refused.output
    for name, policy, said in (("nobody", "v1", "no experiment 'nobody'"), ("demo", "v9", "'v9'")):
        wrong = run(monkeypatch, url, name, "--policy", policy)
        assert wrong.exit_code != 0
        assert said in str(wrong.exception) + wrong.output
