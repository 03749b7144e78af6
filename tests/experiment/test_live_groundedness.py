"""The live hallucination guardrail: what the router's check leaves in `groundedness` decides of a canary."""

from __future__ import annotations

import psycopg

from flytewheel.experiment.experiments import Experiment, get_experiment
from flytewheel.experiment.metrics import count_stages, find_metric
from flytewheel.experiment.rollout import Tick, tick
from flytewheel.recipe import AbTestingSpec, AutomationSpec, Guardrail
from tests.experiment.canary import Served, crowd, open_canary, store

GROUNDED = Guardrail(metric="groundedness", absolute_margin=0.1)


def check(database_url: str, experiment: Experiment, found: dict[int, tuple[int, int]]) -> None:
    """Stores what the router found: spans, and of these unsupported, by the number of the answer."""
    rows = [(f"{experiment.experiment_id}-{number}", *counts) for number, counts in found.items()]
    with psycopg.connect(database_url) as connection:
        connection.cursor().executemany(
            "INSERT INTO groundedness (interaction_id, spans, unsupported, kinds) VALUES (%s, %s, %s, '{}')", rows
        )


def look(database_url: str) -> Tick:
    rules = AbTestingSpec(guardrails=(GROUNDED,), rollout_stages=(0.25, 1.0), stage_duration_hours=24.0)
    return tick(database_url, rules, AutomationSpec(), name="demo", actor="ada")


def test_an_answer_is_ungrounded_by_its_first_unsupported_span(database_url: str) -> None:
    canary = open_canary(database_url)
    store(database_url, canary, [Served(user, "treatment") for user in ("ada", "ada", "ada", "bob", "cyd")])
    check(database_url, canary, {0: (9, 0), 1: (9, 1), 2: (2, 2), 3: (0, 0)})  # nobody checked the last one
    with psycopg.connect(database_url) as connection:
        counts = count_stages(connection, canary.experiment_id, [find_metric("groundedness")], keys=True)[-1]
    sums = counts.sums["groundedness"]["treatment"]
    assert sorted(zip(sums.numerators.tolist(), sums.denominators.tolist(), strict=True)) == [(1, 1), (1, 3)]
    assert counts.users["treatment"] == 3


def test_a_version_that_invents_is_taken_back_and_one_that_is_not_checked_holds(database_url: str) -> None:
    canary = open_canary(database_url, share=0.25)
    rows = crowd("control", 180, up=0.7) + crowd("treatment", 60, up=0.7)
    store(database_url, canary, rows)
    held = look(database_url)
    assert (held.decision, held.reasons) == ("hold", ("groundedness: no data in control and treatment",))
    invents = {"control": 10, "treatment": 2}  # one answer in so many holds what its context does not
    check(
        database_url,
        canary,
        {number: (5, int(number % invents[row.arm] == 0)) for number, row in enumerate(rows)},
    )
    done = look(database_url)
    assert (done.decision, done.reasons) == ("roll_back", ("groundedness: harm: worse than the margin allows",))
    assert not get_experiment(database_url, canary.experiment_id).running
