"""The sign test by user: by hand, against a simulation of looking after every vote, and from stored choices."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner
from scipy import integrate, stats

from flytewheel import duel_commands
from flytewheel.cli import main
from flytewheel.database import connect, migrate
from flytewheel.experiment.duels import count_votes, judge_duels, judge_votes, log_sign_e_value
from flytewheel.experiment.experiments import Experiment
from flytewheel.feedback.logs import encode_body
from flytewheel.feedback.store import INSERT_EVENT, INSERT_INTERACTION
from flytewheel.records import FeedbackEvent, FeedbackType, Interaction
from tests.experiment.canary import NOW, open_canary


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (8, 2), (2, 8), (300, 240)])
def test_the_e_value_is_the_mixed_likelihood_ratio(wins: int, losses: int) -> None:
    """∫ (2θ)^k (2 − 2θ)^(n − k) over θ from the upper half of Beta(5, 5), by quadrature."""
    mixed, _ = integrate.quad(
        lambda theta: math.exp(wins * math.log(2 * theta) + losses * math.log(2 - 2 * theta) if theta < 1 else -1e9)
        * 2 * stats.beta.pdf(theta, 5, 5), 0.5, 1, epsabs=0, epsrel=1e-10, limit=200,
    )  # fmt: skip
    assert log_sign_e_value(wins, losses) == pytest.approx(math.log(mixed), abs=1e-6)


def test_a_coin_is_hardly_ever_called_a_preference_however_often_one_looks() -> None:
    """4,000 fair crowds of 300 users, looked at after every vote: at most 5 %, and the Monte Carlo slack of 1 point.
    The plain sign test at 5 %, looked at as often, calls more than 30 %.
    """
    chance = np.random.default_rng(8)
    wins = np.cumsum(chance.random((4_000, 300)) < 0.5, axis=1)
    votes = np.arange(1, 301)
    limits = [next((k for k in range(n // 2, n + 1) if judge_votes(k, n - k)[0] != "hold"), n + 1) for n in votes]
    called = (np.maximum(wins, votes - wins) >= np.array(limits)).any(axis=1).mean()
    naive = (np.abs(2 * wins - votes) > 1.96 * np.sqrt(votes)).any(axis=1).mean()
    print(f"called: {called:.4f}, naive {naive:.3f}")
    assert called <= 0.06
    assert naive > 0.3


def test_a_clear_preference_is_found_with_few_users() -> None:
    """70 % prefer the treatment: found within 150 users in nine of ten crowds."""
    chance = np.random.default_rng(9)
    found = 0
    for votes in chance.random((200, 150)) < 0.7:
        wins = np.cumsum(votes)
        found += any(
            judge_votes(int(k), n - int(k))[0] == "prefer treatment" for n, k in enumerate(wins, 1) if n % 5 == 0
        )
    assert found >= 180
    assert judge_votes(0, 40)[0] == "prefer control"
    assert judge_votes(20, 20)[0] == "hold"


def test_a_user_has_one_vote() -> None:
    choices = [("a", "tie"), ("b", "control"), ("a", "treatment"), ("a", "control"), ("b", "treatment"), ("c", "tie")]
    assert count_votes(choices) == (1, 1, 1)
    assert count_votes([]) == (0, 0, 0)


def store_duel(url: str, experiment: Experiment, number: int, user: str, *said: tuple[str, str]) -> None:
    """A duel with what was said of it: (arm that the event is of, preferred)."""
    with psycopg.connect(url) as connection:
        for place, arm in enumerate(("control", "treatment")):
            interaction = Interaction(
                interaction_id=f"d{number}-{arm}",
                user_id=user,
                timestamp=NOW + timedelta(minutes=number),
                query="q",
                response=arm,
                metadata={
                    "duel": {
                        "id": f"d{number}", "experiment_id": experiment.experiment_id, "arm": arm, "place": place,
                    }
                },
            )  # fmt: skip
            body, digest = encode_body(interaction)
            row = {"id": interaction.interaction_id, "source": experiment.name, "user_id": user, "timestamp": NOW}
            connection.execute(INSERT_INTERACTION, row | {"body": body, "digest": digest})
        for place, (arm, preferred) in enumerate(said):
            event = FeedbackEvent(
                event_id=f"d{number}-{place}",
                interaction_id=f"d{number}-{arm}",
                user_id=user,
                feedback_type=FeedbackType.DUEL,
                timestamp=NOW + timedelta(hours=1, minutes=place),
                preferred=preferred,
                other_response="the other",
            )
            body, digest = encode_body(event)
            row = {"id": event.event_id, "interaction_id": event.interaction_id, "user_id": user}
            row |= {"feedback_type": "duel", "timestamp": event.timestamp, "body": body, "digest": digest}
            connection.execute(INSERT_EVENT, row)


def test_choices_are_read_as_they_were_meant(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(database_url)
    experiment = open_canary(database_url)
    with connect(database_url) as connection:
        assert judge_duels(connection, experiment).reason == "nobody has chosen yet"
    store_duel(database_url, experiment, 1, "a", ("treatment", "this"))
    store_duel(database_url, experiment, 2, "b", ("treatment", "other"))
    store_duel(database_url, experiment, 3, "c", ("control", "this"), ("treatment", "this"))  # thought again
    store_duel(database_url, experiment, 4, "d", ("control", "tie"))
    store_duel(database_url, experiment, 5, "e")
    store_duel(database_url, experiment, 6, "a", ("control", "this"))
    for number in range(7, 27):
        store_duel(database_url, experiment, number, f"u{number}", ("control", "other"))
    with connect(database_url) as connection:
        found = judge_duels(connection, experiment)
    assert (found.treatment, found.control, found.ties, found.chosen, found.shown) == (22, 1, 1, 25, 26)
    assert found.outcome == "prefer treatment"

    class Services:
        pass

    Services.database_url = database_url  # type: ignore[attr-defined]
    monkeypatch.setattr(duel_commands, "open_services", lambda **_: Services)
    told = CliRunner().invoke(main, ["experiments", "duels", "demo", "--json"])
    assert json.loads(told.output)["result"]["treatment"] == 22
    text: Any = CliRunner().invoke(main, ["experiments", "duels", experiment.experiment_id])
    assert "prefer treatment: more users prefer the treatment than chance allows" in text.output
    wrong = CliRunner().invoke(main, ["experiments", "duels", "nobody"])
    assert wrong.exit_code != 0
    assert "no experiment 'nobody'" in str(wrong.exception) + wrong.output
