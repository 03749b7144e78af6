"""Exclusion groups and the holdout at a running router: whoever an experiment is not for meets the champion."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flytewheel.experiment.assign import draw_unit
from flytewheel.experiment.experiments import get_experiment
from flytewheel.experiment.layers import change_holdout, draw_slot
from tests.router.live import ASSIGNMENT_KEY, LiveRouter

KEY = ASSIGNMENT_KEY.encode()


@pytest.fixture
def held_out(router: LiveRouter) -> Iterator[str]:
    """Somebody who is on the list while this test opens experiments."""
    change_holdout(router.database_url, add=["a held-out user"])
    yield "a held-out user"
    change_holdout(router.database_url, remove=["a held-out user"])


def test_whom_an_experiment_is_not_for_meets_the_champion(router: LiveRouter, held_out: str) -> None:
    control = router.serve("layered", "stable")
    treatment = router.register("layered", "trial")
    body = {"exclusion_group": "layered-group", "group_share": 0.5}
    launched = router.send(
        "POST",
        "/experiments",
        {"name": "layered", "control": control, "treatment": treatment, "share": 0.9, "launch_key": "layered"}
        | {"body": body},
    )
    assert launched.status_code == 201, launched.text
    experiment_id = launched.json()["experiment"]["experiment_id"]
    change_holdout(router.database_url, remove=[held_out])  # those that run keep theirs
    assert get_experiment(router.database_url, experiment_id).layer.slots == ((0, 500),)
    users = [f"user-{number}" for number in range(60)]
    inside = [user for user in users if draw_slot(KEY, "layered-group", user) < 500]
    treated = next(user for user in inside if draw_unit(KEY, experiment_id, user) < 0.9)
    outside = next(user for user in users if user not in inside)
    for user, version, counted in ((treated, treatment, True), (outside, control, False), (held_out, control, False)):
        answer = router.ask("layered", user, max_tokens=8)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-flytewheel-version"] == version
        stored = router.interaction(answer.headers["x-flytewheel-interaction"])
        assert stored.get("experiment_id") == (experiment_id if counted else None)
        assert stored.get("arm") == ("treatment" if counted else None)
        assert (stored.get("propensity") == pytest.approx(0.9)) if counted else stored.get("propensity") is None
    groups = router.get(f"/api/users/{outside}/experiment-group?name=layered").json()["groups"]
    assert groups == []
    groups = router.get(f"/api/users/{treated}/experiment-group?name=layered").json()["groups"]
    assert [group["variant"] for group in groups] == ["treatment"]
    # A second experiment of the group takes the other half; a third finds no room, and says so.
    other = router.serve("layered-too", "stable")
    more = {"name": "layered-too", "control": other, "share": 0.5, "launch_key": "layered-too", "body": body}
    second = router.send("POST", "/experiments", more | {"treatment": router.register("layered-too", "trial")})
    assert second.status_code == 201, second.text
    third = router.serve("layered-three", "stable")
    more |= {"name": "layered-three", "control": third, "launch_key": "layered-three"}
    refused = router.send("POST", "/experiments", more | {"treatment": router.register("layered-three", "trial")})
    assert refused.status_code == 409
    assert "has 0 of 1000 slots free, 500 are asked for" in refused.json()["error"]["message"]
    both = [
        user
        for user in users
        if len(router.get(f"/api/users/{user}/experiment-group").json()["groups"]) > 1
        and {"layered", "layered-too"}
        <= {group["name"] for group in router.get(f"/api/users/{user}/experiment-group").json()["groups"]}
    ]
    assert both == []
