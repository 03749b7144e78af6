"""Users of an allocation that learns are weighed by the probability in the log, and a look at them can tell."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from flytewheel.database import connect
from flytewheel.experiment.allocation.counts import count_experiment
from flytewheel.experiment.analysis.adaptive import weigh_users
from flytewheel.experiment.analysis.ratio import estimate_ratio, linearise
from flytewheel.experiment.experiments import Experiment, set_share
from flytewheel.experiment.guardrails import make_design
from flytewheel.experiment.metrics import ArmMoments, UserSums, find_metric
from flytewheel.experiment.rollout import tick
from flytewheel.recipe import AbTestingSpec, AutomationSpec
from tests.experiment.canary import Served, open_canary, store

SPEC = AbTestingSpec(guardrails=({"metric": "thumbs_up_rate", "relative_margin": 0.05},))  # type: ignore[arg-type]
BODY = {"allocation": "thompson"}


def serve(database_url: str, experiment: Experiment, *, up: dict[str, float], users: int = 450) -> None:
    """Half of the users met probabilities of 0.5, later ones 0.2 for the treatment; four rated answers each."""
    rng = np.random.default_rng(5)
    for start, share in ((0, 0.5), (users, 0.2)):
        rows = []
        for user in range(users):
            arm = "treatment" if rng.random() < share else "control"
            liked = rng.random(4) < up[arm]
            rows += [
                Served(f"u-{share}-{user}", arm, said=(("thumbs_up" if each else "thumbs_down", None),))
                for each in liked
            ]
        store(database_url, experiment, rows, start=4 * start, share=share)


def test_each_user_weighs_by_the_own_propensity(database_url: str) -> None:
    experiment = open_canary(database_url, body=BODY)
    serve(database_url, experiment, up={"control": 0.7, "treatment": 0.7}, users=60)
    with connect(database_url) as connection:
        [stage] = count_experiment(connection, experiment.experiment_id, [find_metric("thumbs_up_rate")])
    assert dict(stage.shares) == {"control": None, "treatment": None}
    found = {arm: sums.weights for arm, sums in stage.sums["thumbs_up_rate"].items()}
    # √((1 − e)/e) of the own arm: 1 at 0.5, 2 at 0.2, and 1/2 at 0.8
    assert found["treatment"] is not None
    assert found["control"] is not None
    assert sorted(set(found["treatment"].round(9))) == [1.0, 2.0]
    assert sorted(set(found["control"].round(9))) == [0.5, 1.0]
    assert sum(stage.users.values()) == 120


def test_a_harmful_arm_is_taken_back_and_a_healthy_one_cleared(database_url: str) -> None:
    found = {}
    for after in (0.4, 0.8):
        experiment = open_canary(database_url, body=BODY, key=f"key-{after}")
        serve(database_url, experiment, up={"control": 0.7, "treatment": after})
        told = tick(database_url, SPEC, AutomationSpec(), actor="test", experiment_id=experiment.experiment_id)
        [one] = told.evidence["guardrails"]
        found[after] = (told.decision, one["outcome"], told.evidence["sample_ratios"][0]["mismatch"])
    assert found == {0.4: ("roll_back", "harm", False), 0.8: ("hold", "cleared", False)}


def test_a_stage_whose_share_was_raised_goes_on_being_weighed(database_url: str) -> None:
    experiment = open_canary(database_url, body=BODY, share=0.2)
    serve(database_url, experiment, up={"control": 0.7, "treatment": 0.7}, users=30)
    later = set_share(database_url, experiment.experiment_id, 0.5, actor="test")
    store(database_url, later, [Served(f"u-0.5-{user}", "control") for user in range(9)], start=900, share=0.5)
    with connect(database_url) as connection:
        stages = count_experiment(connection, experiment.experiment_id, [find_metric("error_rate")])
    assert [sum(stage.users.values()) for stage in stages] == [60, 9]
    assert dict(stages[1].shares) == {"control": None, "treatment": None}
    weights = stages[1].sums["error_rate"]["control"].weights
    assert weights is not None
    assert weights.tolist() == [1.0] * 9


def test_a_user_without_a_probability_makes_the_look_hold(database_url: str) -> None:
    experiment = open_canary(database_url, body=BODY)
    serve(database_url, experiment, up={"control": 0.7, "treatment": 0.7}, users=200)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE interactions SET body = body - 'propensity' WHERE user_id = (SELECT min(user_id) FROM interactions"
            " WHERE body ->> 'arm' = 'control')"
        )
    told = tick(database_url, SPEC, AutomationSpec(), actor="test", experiment_id=experiment.experiment_id)
    assert told.decision == "hold"
    assert "thumbs_up_rate: a user has no probability of the arm in the log" in told.reasons


def test_a_fixed_split_has_no_weights(database_url: str) -> None:
    experiment = open_canary(database_url)
    store(database_url, experiment, [Served("u", "control")])
    with connect(database_url) as connection:
        [stage] = count_experiment(connection, experiment.experiment_id, make_design(SPEC).metrics)
    assert isinstance(stage.sums["thumbs_up_rate"]["control"], ArmMoments)  # no users, so no weights


@pytest.fixture
def weighed() -> UserSums:
    return UserSums(np.array([1.0, 0.0, 2.0]), np.array([1.0, 2.0, 2.0]), weights=np.array([2.0, 1.0, 0.5]))


def test_weighed_ratios_by_hand(weighed: UserSums) -> None:
    """wX = (2, 0, 1), wN = (2, 2, 1): R = 3/5; ΣN as of equal users 5²/(4·1 + 1·2 + 0.25·2) = 25/6.5.

    Parts (wX − R·wN)/5 = (0.8, −1.2, 0.4)/5; Var = 3/2·(0.64 + 1.44 + 0.16)/25 = 0.1344.
    """
    found = estimate_ratio(weighed)
    assert found is not None
    assert (found.estimate, found.total, found.variance) == pytest.approx((0.6, 25 / 6.5, 0.1344))
    assert linearise(weighed, 0.6) == pytest.approx(np.array([0.16, -0.24, 0.08]))


def test_what_a_probability_weighs() -> None:
    assert weigh_users(np.array([0.5, 0.2, 0.8])) == pytest.approx(np.array([1.0, 2.0, 0.5]))
    assert weigh_users(np.array([0.5, 0.2]), arms=3) == pytest.approx(np.array([2.0, 5.0]))
    assert np.isnan(weigh_users(np.array([0.0, 1.0, np.nan, -1.0]))).all()
