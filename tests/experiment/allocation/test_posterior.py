"""What arms earned: in any order, once for each event, taken back by a later word, by user, and with an age."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.experiment.allocation.design import Design
from flytewheel.experiment.allocation.posterior import Posterior, Reward

ARMS = ("control", "treatment")
THOMPSON = Design("thompson", ARMS)


def sums_of(posterior: Posterior, hour: float = 100.0) -> tuple[list[float], list[float]]:
    users, rewards, _, _ = posterior.weigh(hour)
    return users.tolist(), rewards.tolist()


def test_a_user_counts_once_with_the_mean_of_what_was_said() -> None:
    posterior = Posterior(THOMPSON)
    for number, reward in enumerate((1.0, 1.0, 0.0, 1.0)):
        posterior.set_reward(Reward(0.1, "treatment", f"i{number}", reward, 100))
    posterior.set_reward(Reward(0.2, "control", "j", 0.0, 100))
    assert sums_of(posterior) == ([1, 1], [0, 0.75])


def test_a_corrected_vote_moves_the_posterior_back() -> None:
    posterior, other = Posterior(THOMPSON), Posterior(THOMPSON)
    posterior.set_reward(Reward(0.1, "treatment", "i", 1.0, 100))
    other.set_reward(Reward(0.1, "treatment", "i", 0.0, 100))
    assert posterior.make_policy(100).choose(None)[1] > 0.5
    posterior.set_reward(Reward(0.1, "treatment", "i", 0.0, 100))
    assert sums_of(posterior) == sums_of(other)
    assert posterior.set_reward(Reward(0.1, "treatment", "i", None, 100))
    assert sums_of(posterior) == ([0, 0], [0, 0])
    assert posterior.make_policy(100).choose(None) == pytest.approx([0.5, 0.5])


said = st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from((0.0, 0.25, 1.0)))


@given(st.lists(said, min_size=1, max_size=20), st.data())
def test_two_routers_come_to_the_same_by_any_way(events: list[tuple[int, int, float]], data: Any) -> None:
    """Each answer's last word counts: what differs is the order of answers, and what comes twice."""
    last = {(user, answer): reward for user, answer, reward in events}
    design = Design("linucb", ARMS, half_life_hours=5.0, features=("prompt_length",))
    rewards = [
        Reward(user / 8, ARMS[user % 2], f"{user}-{answer}", reward, 90 + user)
        for (user, answer), reward in last.items()
    ]
    found = []
    for order in (rewards, data.draw(st.permutations(rewards + rewards[:3]))):
        posterior = Posterior(design)
        for each in order:
            posterior.set_reward(each, np.array([1.0, each.user]))
        found.append([part.tolist() for part in posterior.weigh(100)])
    for one, two in zip(*found, strict=True):
        assert np.allclose(one, two, atol=1e-12)


def test_contexts_add_up_by_hand() -> None:
    """Users with x = (1, ½) and (1, 1), earning 1 and ¼: Σxxᵀ = [[2, 1.5], [1.5, 1.25]], Σxr = (1.25, 0.75)."""
    posterior = Posterior(Design("linucb", ARMS, features=("prompt_length",)))
    posterior.set_reward(Reward(0.1, "treatment", "i", 1.0, 0), np.array([1.0, 0.5]))
    posterior.set_reward(Reward(0.2, "treatment", "j", 0.25, 0), np.array([1.0, 1.0]))
    _, _, moments, products = posterior.weigh(0)
    assert moments[1].tolist() == [[2, 1.5], [1.5, 1.25]]
    assert products.tolist() == [[0, 0], [1.25, 0.75]]
    assert not posterior.set_reward(Reward(0.3, "treatment", "k", 1.0, 0))  # nothing is known of what was seen


def test_sums_merge_by_adding_and_survive_json() -> None:
    design = Design("linucb", ARMS, features=("prompt_length",))
    whole, one, two = Posterior(design), Posterior(design), Posterior(design)
    for number in range(20):
        each = Reward(number / 32, ARMS[number % 2], f"i{number}", number % 3 / 2, number % 4)
        context = np.array([1.0, number / 20])
        whole.set_reward(each, context)
        (one if number < 9 else two).set_reward(each, context)
    merged = Posterior(design)
    for part in (one, two):
        merged.take_sums(part.to_jsonable())
    for mine, theirs in zip(merged.weigh(4), whole.weigh(4), strict=True):
        assert mine == pytest.approx(theirs)
    assert merged.make_policy(4).choose(np.array([1.0, 0.3])) == pytest.approx(
        whole.make_policy(4).choose(np.array([1.0, 0.3]))
    )
    for wrong in ({"users": 1, "rewards": 2}, {"users": float("nan"), "rewards": 0}, {"arm": "third"}):
        with pytest.raises((ValueError, KeyError)):
            Posterior(THOMPSON).take_sums([{**Posterior_row, **wrong}])


Posterior_row: dict[str, Any] = {
    "arm": "control", "hour": 1, "users": 1.0, "rewards": 1.0, "moments": None, "products": None,
}  # fmt: skip


def test_old_rewards_weigh_half_after_their_half_life() -> None:
    posterior = Posterior(Design("thompson", ARMS, half_life_hours=10.0))
    posterior.set_reward(Reward(0.1, "control", "i", 1.0, 100))
    posterior.set_reward(Reward(0.2, "treatment", "j", 1.0, 110))
    assert sums_of(posterior, 110) == ([0.5, 1], [0.5, 1])
    assert sums_of(posterior, 120) == ([0.25, 0.5], [0.25, 0.5])


def test_a_change_of_what_is_better_is_followed_only_where_rewards_age() -> None:
    """The control was better for 2,000 users, then the treatment for 300."""
    policies = []
    for half_life in (None, 10.0):
        posterior = Posterior(Design("thompson", ARMS, half_life_hours=half_life))
        for number in range(2_300):
            arm = ARMS[number % 2]
            better = "control" if number < 2_000 else "treatment"
            reward = float(number // 2 % 10 < (7 if arm == better else 3))
            posterior.set_reward(Reward(number / 4096, arm, str(number), reward, 0 if number < 2_000 else 100))
        policies.append(posterior.make_policy(100).choose(None)[1])
    assert policies[0] == pytest.approx(0.1, abs=1e-6)
    assert policies[1] == pytest.approx(0.9, abs=1e-6)


def test_nothing_of_another_arm_or_for_another_user_counts() -> None:
    posterior = Posterior(THOMPSON)
    assert not posterior.set_reward(Reward(0.1, "override", "i", 1.0, 100))
    assert not posterior.set_reward(Reward(0.1, "control", "i", None, 100))
    posterior.set_reward(Reward(0.1, "control", "i", 1.0, 100))
    assert not posterior.set_reward(Reward(0.1, "treatment", "j", 1.0, 100))  # a user has one arm
    assert sums_of(posterior) == ([1, 0], [1, 0])
