"""Which allocations can be, and the recipe that asks for one."""

from __future__ import annotations

from typing import Any

import pytest

from flytewheel.errors import ExperimentError
from flytewheel.experiment.allocation.design import Design, read_design
from flytewheel.experiment.experiments import check_launch
from flytewheel.recipe import AbTestingSpec
from flytewheel.records import to_jsonable

LAUNCH = {"name": "m", "control": "v1", "treatment": "v2", "share": 0.5, "launch_key": "k"}


def test_a_recipes_section_is_a_body() -> None:
    assert read_design(to_jsonable(AbTestingSpec())) is None
    spec = AbTestingSpec(allocation="linucb", exploration=0.3, reward_half_life_hours=24, context_features=("topic",))
    assert read_design(to_jsonable(spec)) == Design("linucb", ("control", "treatment"), 0.3, 0.1, 24.0, ("topic",))


@pytest.mark.parametrize(
    ("policy", "exploration", "floor", "mixed"),
    [
        ("thompson", 0.9, 0.1, 0.1),
        ("epsilon_greedy", 0.1, 0.1, 0.1),
        ("linucb", 0.6, 0.1, 0.2),
        ("linucb", 1, 0.3, 1 / 3),
    ],
)
def test_the_floor_and_exploration_meet(policy: Any, exploration: float, floor: float, mixed: float) -> None:
    assert Design(policy, ("a", "b", "c"), exploration, floor).mixed == pytest.approx(mixed)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"allocation": "ucb"}, "allocation 'ucb'"),
        ({"allocation": "thompson", "arm_floor": 0.6}, "arm_floor 0.6 with 2 arms"),
        ({"allocation": "thompson", "arm_floor": 0}, "arm_floor 0"),
        ({"allocation": "thompson", "exploration": float("nan")}, "exploration nan"),
        ({"allocation": "thompson", "exploration": True}, "exploration True"),
        ({"allocation": "thompson", "reward_half_life_hours": -1}, "reward_half_life_hours -1"),
        ({"allocation": "linucb", "context_features": ["age"]}, "context_features"),
        ({"allocation": "linucb", "context_features": []}, "without context_features"),
        ({"arms": {"third": "v3"}}, "3 arms need an allocation"),
        ({"allocation": "thompson", "arms": {"control": "v3"}}, "arms"),
        ({"allocation": "thompson", "arms": {"third": "v2"}}, "each of another version"),
        ({"allocation": "thompson", "arms": {"third": 3}}, "arms"),
        ({"allocation": "thompson", "arms": ["v3"]}, "arms"),
        ({"allocation": "thompson", "arms": {f"a{n}": f"x{n}" for n in range(9)}}, "at most 10 arms"),
    ],
)
def test_what_cannot_be_is_refused_at_the_launch(body: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=said.replace("(", r"\(")):
        check_launch(body=body, **LAUNCH)  # type: ignore[arg-type]


def test_ten_arms_can_be() -> None:
    check_launch(body={"allocation": "thompson", "arms": {f"a{n}": f"x{n}" for n in range(8)}}, **LAUNCH)  # type: ignore[arg-type]
