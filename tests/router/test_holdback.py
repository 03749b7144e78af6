"""After a promotion: who keeps the champion of before, beside what, and until when. Real routers, many users."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
import pytest

from flytewheel.errors import RouterError
from flytewheel.experiment import hands, rollout
from flytewheel.experiment.assign import draw_unit
from flytewheel.experiment.experiments import get_experiment, log_rollout
from flytewheel.experiment.holdback import end_holdback
from flytewheel.experiment.launch import promote
from flytewheel.experiment.metrics.strata import list_strata
from tests.router.live import ADMIN_KEY, ASSIGNMENT_KEY, LiveRouter, wait_until

USERS = [f"user-{number}" for number in range(120)]
HELD = 0.1


def store_verdict(router: LiveRouter, experiment_id: str, *, share: float = HELD, fence: int = 0) -> str:
    """The verdict that a tick would have stored; returns the rollout's id."""
    rollout_id = experiment_id.replace("exp-", "roll-", 1)
    with psycopg.connect(router.database_url) as connection:
        detail: dict[str, Any] = {"reasons": ["cleared"], "holdback": {"share": share, "days": 14.0}}
        log_rollout(connection, rollout_id, fence, "tick", "promote", detail)
    return rollout_id


def release(router: LiveRouter, name: str, *, share: float = HELD) -> tuple[str, str, str]:
    """A release that was promoted; its control, treatment and experiment."""
    control, treatment = router.serve(name, "stable"), router.register(name, "candy")
    experiment = router.launch(name, control, treatment, share=0.5).json()["experiment"]["experiment_id"]
    store_verdict(router, experiment, share=share)
    promote(router.url, ADMIN_KEY, experiment_id=experiment, fence=0)
    return control, treatment, experiment


def meet(router: LiveRouter, name: str, *, users: list[str] = USERS) -> dict[str, tuple[str, str]]:
    """Version and arm that each user is answered by."""
    found = {user: router.ask(name, user, max_tokens=1).headers for user in users}
    return {user: (head["x-flytewheel-version"], head["x-flytewheel-arm"]) for user, head in found.items()}


def place(experiment_id: str, user: str) -> float:
    return draw_unit(ASSIGNMENT_KEY.encode(), experiment_id, user)


def test_those_with_the_highest_draw_keep_the_champion_of_before(router: LiveRouter) -> None:
    control, treatment, experiment = release(router, "kept")
    met = meet(router, "kept")
    assert met == {
        user: (treatment, "treatment") if place(experiment, user) < 1 - HELD else (control, "control") for user in USERS
    }
    assert 3 < Counter(met.values())[control, "control"] < 25
    assert router.registry.aliases("kept") == {"champion": treatment, "previous": control}
    assert router.rows("SELECT state, stage FROM rollouts WHERE experiment_id = %s", experiment) == [("promoted", 1)]
    held = next(user for user, (version, _) in met.items() if version == control)
    body = router.interaction(router.ask("kept", held).headers["x-flytewheel-interaction"])
    assert (body["experiment_id"], body["arm"], body["model_version"]) == (experiment, "control", control)
    assert body["propensity"] == pytest.approx(HELD)
    found = get_experiment(router.database_url, experiment)
    assert (found.state, found.share) == ("holdback", 1 - HELD)
    assert found.holdback_since is not None
    with psycopg.connect(router.database_url) as connection:
        strata = list_strata(connection, experiment)
    assert [(each.shares["treatment"], each.since >= found.holdback_since) for each in strata] == [
        (0.5, False),
        (1 - HELD, True),
    ]
    # A second promotion of the same changes nothing; nor does a router that starts anew.
    promote(router.url, ADMIN_KEY, experiment_id=experiment, fence=0)
    assert len(router.registry.history("kept", "champion")) == 2


def test_a_canary_beside_it_meets_those_whom_it_does_not_need(router: LiveRouter) -> None:
    control, champion, holdback = release(router, "beside")
    candidate = router.register("beside", "bright")
    canary = router.launch("beside", champion, candidate, share=0.5, key="beside-2").json()["experiment"]
    for user, (version, arm) in meet(router, "beside").items():
        u = place(holdback, user)
        if u >= 1 - HELD:
            assert (version, arm) == (control, "control")
        elif u >= 1 - 2 * HELD:
            assert (version, arm) == (champion, "treatment")
        else:
            drawn = place(canary["experiment_id"], user) < 0.5
            assert (version, arm) == ((candidate, "treatment") if drawn else (champion, "control"))
    router.send("POST", f"/experiments/{canary['experiment_id']}/stop", {"reason": "enough"})
    with psycopg.connect(router.database_url) as connection:
        strata = list_strata(connection, holdback)
    assert [each.shares["treatment"] for each in strata] == [0.5, 1 - HELD, 0.5, 1 - HELD]


@pytest.mark.parametrize("how", ["time", "hand", "champion"])
def test_it_ends(router: LiveRouter, how: str) -> None:
    name = f"ends-{how}"
    control, treatment, experiment = release(router, name)
    held = next(user for user in USERS if place(experiment, user) >= 1 - HELD)
    assert meet(router, name, users=[held])[held][0] == control
    champion = treatment
    if how == "time":
        with psycopg.connect(router.database_url) as connection:
            connection.execute("UPDATE experiments SET holdback_until = now() WHERE name = %s", (name,))
    elif how == "hand":
        end_holdback(router.database_url, name, reason="seen enough", actor="ada")
    else:
        champion = router.register(name, "bright")
        assert router.send("PUT", f"/models/{name}/champion", {"version": champion}).status_code == 200
    wait_until(
        lambda: meet(router, name, users=[held]) == {held: (champion, "champion")}, what="held users meet the champion"
    )
    wait_until(lambda: get_experiment(router.database_url, experiment).state == "stopped", what="written down")
    log = router.rows("SELECT action FROM rollout_log JOIN rollouts USING (rollout_id) WHERE name = %s", name)
    assert [action for (action,) in log].count("holdback_ended") == 1
    assert router.rows("SELECT state FROM rollouts WHERE name = %s", name) == [("promoted",)]


def test_whom_it_counts_is_asked_to_compare_nothing(router: LiveRouter) -> None:
    control, champion, holdback = release(router, "compared")
    router.launch("compared", champion, router.register("compared", "bright"), share=0.5, key="compared-2")
    held = next(user for user in USERS if place(holdback, user) >= 1 - HELD)
    body = {"model": "flytewheel/compared", "messages": [{"role": "user", "content": "Which word?"}], "user": held}
    told = router.post("/v1/duels/chat/completions", json=body, headers={"x-flytewheel-duel": "consented"})
    assert told.status_code == 200, told.text
    assert (len(told.json()["choices"]), told.headers["x-flytewheel-version"]) == (1, control)


def test_an_abort_after_the_promotion_takes_everyone_back(router: LiveRouter) -> None:
    control, treatment, experiment = release(router, "regret")
    beside = router.launch("regret", treatment, router.register("regret", "bright"), share=0.5, key="regret-2")
    assert beside.status_code == 201
    rollout_id = experiment.replace("exp-", "roll-", 1)
    hands.abort(router.database_url, rollout_id, reason="people complain", actor="ada")
    served = rollout.carry_out(
        router.database_url,
        router_url=router.url,
        admin_key=ADMIN_KEY,
        experiment_id=experiment,
        decision="abort",
        fence=0,
    )
    assert served == f"everyone on regret meets {control} again: people complain"
    assert set(meet(router, "regret").values()) == {(control, "champion")}
    assert router.registry.get_alias("regret", "champion") == control
    states = router.rows("SELECT state, reason FROM experiments WHERE name = 'regret' ORDER BY created_at")
    assert states == [("stopped", "people complain"), ("stopped", f"its control {treatment} was taken back")]


def test_whoever_aborts_while_it_is_promoted_wins(router: LiveRouter) -> None:
    """The alias was moved, and whoever moved it died before writing so; the abort came between."""
    control, treatment = router.serve("torn", "stable"), router.register("torn", "candy")
    experiment = router.launch("torn", control, treatment, share=0.5).json()["experiment"]["experiment_id"]
    rollout_id = store_verdict(router, experiment)
    hands.abort(router.database_url, rollout_id, reason="no", actor="ada")
    with pytest.raises(RouterError, match="is rolled back"):
        promote(router.url, ADMIN_KEY, experiment_id=experiment, fence=0)
    registry = router.registry
    registry.promote("torn", treatment, control, by=f"rollout {rollout_id}", reason="fence 0")
    wait_until(lambda: registry.get_alias("torn", "champion") == control, what="a router takes the alias back")
    wait_until(lambda: meet(router, "torn", users=["ada"])["ada"][0] == control, what="and serves so")
    # What a person promotes stands, also a version that was taken back.
    registry.promote("torn", treatment, control, by="ada", reason="I know")
    router.send("PUT", "/models/torn/champion", {"version": treatment})
    assert registry.get_alias("torn", "champion") == treatment
    assert meet(router, "torn", users=["ada"])["ada"][0] == treatment


def test_a_promotion_needs_its_verdict(router: LiveRouter) -> None:
    control, treatment = router.serve("early", "stable"), router.register("early", "candy")
    experiment = router.launch("early", control, treatment, share=0.5).json()["experiment"]["experiment_id"]
    with pytest.raises(RouterError, match="no stored verdict"):
        promote(router.url, ADMIN_KEY, experiment_id=experiment, fence=0)
    store_verdict(router, experiment, share=0.0)
    other = router.serve("early", "bright")  # somebody moves the champion meanwhile: the experiment ends
    with pytest.raises(RouterError, match="is rolled back at 1"):
        promote(router.url, ADMIN_KEY, experiment_id=experiment, fence=0)
    assert router.registry.get_alias("early", "champion") == other
