"""More than two arms, over the control API of a real router: loaded before traffic, given, told apart, answered for."""

from __future__ import annotations

from collections import Counter

from tests.router.live import LiveRouter


def test_three_arms_are_loaded_given_and_kept(router: LiveRouter) -> None:
    control = router.serve("three", "stable")
    treatment, third = router.register("three", "candy"), router.register("three", "third")
    launch = {"name": "three", "control": control, "treatment": treatment, "share": 0.9, "launch_key": "three"}
    refused = router.send("POST", "/experiments", launch | {"body": {"arms": {"third": third}}})
    assert refused.status_code in (409, 422), refused.text
    assert "3 arms need an allocation" in refused.text
    body = {"allocation": "epsilon_greedy", "exploration": 0.6, "arms": {"third": third}}
    opened = router.send("POST", "/experiments", launch | {"body": body})
    assert opened.status_code == 201, opened.text

    found = {f"user-{n}": router.ask("three", f"user-{n}", max_tokens=2) for n in range(30)}
    versions = {"control": control, "treatment": treatment, "third": third}
    for answer in found.values():
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-flytewheel-version"] == versions[answer.headers["x-flytewheel-arm"]]
        assert "x-flytewheel-fallback" not in answer.headers
    arms = {user: answer.headers["x-flytewheel-arm"] for user, answer in found.items()}
    assert set(arms.values()) == set(versions), Counter(arms.values())
    again = {user: router.ask("three", user, max_tokens=2).headers["x-flytewheel-arm"] for user in list(arms)[:6]}
    assert again == {user: arms[user] for user in again}
    logged = router.interaction(found["user-0"].headers["x-flytewheel-interaction"])
    assert abs(logged["propensity"] - 1 / 3) < 0.15  # nobody said anything yet: the split is even, below the share
    group = router.get("/users/user-0/experiment-group", params={"name": "three"}).json()["groups"]
    assert [(one["variant"], one["version"]) for one in group] == [(arms["user-0"], versions[arms["user-0"]])]
