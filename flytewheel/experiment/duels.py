"""Decides of paired duels, for traffic too thin for a canary: a sequential sign test by user.

Somebody who sees both answers to a question says more about their difference than two strangers who see one each. A
user has one vote: what they chose in their *first* duel that did not end in a tie. It stays what it is while others
come, so that the test below holds at every look; who chooses twenty times weighs no more than who chooses once. Ties
say nothing of a direction and are counted apart.

With k of n votes for the treatment and no difference, each is a fair coin. Against "the treatment is not preferred" the
e-value is the likelihood ratio mixed over a preference θ from the upper half of Beta(a, a) (Robbins 1970; Grünwald, de
Heide and Koolen 2024, "Safe testing"): E = 2·2ⁿ·B(k + a, n − k + a)·P(Beta(k + a, n − k + a) > ½)/B(a, a). The other
direction likewise. Either one is claimed at E ≥ 2/α, so both together err with probability at most α, however often
anyone looks (Ville). a = 5 puts most weight on preferences of 50 to 80 %.

What a person chose counts for whoever is looked at; an answer that was shown on the left does not win more often for
that, since a coin decided the order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from flytewheel.database import Connection
from flytewheel.experiment.experiments import Experiment

Preference = Literal["prefer treatment", "prefer control", "hold"]

PRIOR = 5.0
_CHOICES = """
WITH sides AS (
    SELECT interaction_id, user_id, "timestamp" AS asked_at, body #>> '{metadata,duel,id}' AS duel,
        body #>> '{metadata,duel,arm}' AS arm
    FROM interactions
    WHERE source = %s AND body #>> '{metadata,duel,experiment_id}' = %s
), chosen AS (
    SELECT DISTINCT ON (duel) duel, sides.user_id, asked_at, CASE e.body ->> 'preferred'
        WHEN 'this' THEN arm WHEN 'other' THEN CASE arm WHEN 'control' THEN 'treatment' ELSE 'control' END
        ELSE 'tie' END AS choice
    FROM sides JOIN feedback_events e USING (interaction_id) WHERE e.feedback_type = 'duel'
    ORDER BY duel, e."timestamp" DESC, e.event_id COLLATE "C" DESC
)
SELECT user_id, choice FROM chosen ORDER BY asked_at, duel
"""
_COUNT = """
SELECT count(DISTINCT body #>> '{metadata,duel,id}') FROM interactions
WHERE source = %s AND body #>> '{metadata,duel,experiment_id}' = %s
"""


@dataclass(frozen=True, slots=True)
class DuelResult:
    """Where a sign test stands. `treatment` and `control` are users who prefer it, `ties` users who only saw ties;
    e-values are natural logarithms. `reason` says the outcome in words.
    """

    outcome: Preference
    reason: str
    treatment: int
    control: int
    ties: int
    chosen: int
    shown: int
    log_e_treatment: float
    log_e_control: float


def log_sign_e_value(wins: int, losses: int, prior: float = PRIOR) -> float:
    """ln E against "a win is no likelier than a loss"; 0 without votes."""
    from scipy.special import betaln  # loads where a test is asked for, and not with every router

    votes = wins + losses
    inside = betaln(wins + prior, losses + prior) - betaln(prior, prior)
    return math.log(2) + votes * math.log(2) + float(inside) + _log_upper_half(wins + prior, losses + prior)


def judge_votes(treatment: int, control: int, *, level: float = 0.95) -> tuple[Preference, float, float]:
    """The outcome with both e-values, as logarithms: that of "prefer treatment", and of "prefer control"."""
    for_treatment, for_control = log_sign_e_value(treatment, control), log_sign_e_value(control, treatment)
    limit = math.log(2 / (1 - level))
    if for_treatment >= limit:
        return "prefer treatment", for_treatment, for_control
    if for_control >= limit:
        return "prefer control", for_treatment, for_control
    return "hold", for_treatment, for_control


def count_votes(choices: Iterable[tuple[str, str]]) -> tuple[int, int, int]:
    """Users for the treatment, for the control, and with ties only, from (user, choice) in the order of the duels."""
    votes: dict[str, str] = {}
    for user, choice in choices:
        if votes.get(user, "tie") == "tie":
            votes[user] = choice
    found = list(votes.values())
    return found.count("treatment"), found.count("control"), found.count("tie")


def judge_duels(connection: Connection, experiment: Experiment, *, level: float = 0.95) -> DuelResult:
    """The sign test of an experiment's duels as they are stored now.

    Args:
        connection: an open transaction.
        experiment: whose arms were compared.
        level: 1 − α.
    """
    named = (experiment.name, experiment.experiment_id)
    choices = [(str(user), str(choice)) for user, choice in connection.execute(_CHOICES.encode(), named)]
    shown = connection.execute(_COUNT.encode(), named).fetchone()
    treatment, control, ties = count_votes(choices)
    outcome, for_treatment, for_control = judge_votes(treatment, control, level=level)
    reasons = {
        "prefer treatment": "more users prefer the treatment than chance allows",
        "prefer control": "more users prefer the control than chance allows",
        "hold": "cannot tell yet" if treatment + control else "nobody has chosen yet",
    }
    return DuelResult(
        outcome,
        reasons[outcome],
        treatment,
        control,
        ties,
        len(choices),
        int(shown[0]) if shown else 0,
        for_treatment,
        for_control,
    )


def _log_upper_half(a: float, b: float) -> float:
    """ln P(Beta(a, b) > ½)."""
    from scipy.stats import beta

    return float(beta.logsf(0.5, a, b))
