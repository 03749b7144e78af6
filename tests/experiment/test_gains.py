"""What a promotion has brought: canaries that were promoted, held-back users' real rows, and the line that is read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner

from flytewheel import experiments_commands
from flytewheel.database import connect
from flytewheel.experiment.analysis.e_values import choose_tau, log_e_value
from flytewheel.experiment.analysis.selection import correct_winner
from flytewheel.experiment.experiments import Experiment, get_experiment, lock_experiment
from flytewheel.experiment.gains import Gain, look_at_holdback, read_gains
from flytewheel.experiment.holdback import begin_holdback, end_due
from flytewheel.experiment.ledger import Entry, read_rollout
from flytewheel.experiment.reading.gain_words import row_gain, tell_gains
from flytewheel.experiment.reading.history import read_history
from flytewheel.experiment.reading.sentence import tell
from flytewheel.recipe import AbTestingSpec, Guardrail
from tests.experiment.canary import NOW, crowd, store
from tests.experiment.reading.days import Day, live, open_days, pass_time

RULES = AbTestingSpec(
    guardrails=(Guardrail(metric="thumbs_up_rate", relative_margin=0.3),),
    rollout_stages=(0.5, 1.0),
    rollback_drill_s=None,
    stale_after_hours=100.0,
)
HELD = 0.1


def promote(database_url: str, *, up: tuple[float, float] = (0.6, 0.7)) -> Experiment:
    """A canary whose look said `promote`, in its holdback as the router's promotion leaves it."""
    experiment = open_days(database_url, share=0.5, rules=RULES)
    [ticked] = live(database_url, experiment, [Day(1200, up)], rules=RULES, hours=30)
    assert ticked.decision == "promote", ticked.reasons
    with connect(database_url) as connection:
        locked = lock_experiment(connection, experiment.experiment_id)
        begin_holdback(connection, locked, share=HELD, days=14.0, actor="test")
    return get_experiment(database_url, experiment.experiment_id)


def keep(database_url: str, experiment: Experiment, up: tuple[float, float], *, users: int = 3000) -> None:
    """Traffic since the promotion: a tenth keeps the old champion."""
    rows = crowd("control", round(users * HELD), up=up[0]) + crowd("treatment", round(users * (1 - HELD)), up=up[1])
    store(database_url, experiment, rows, start=50_000)


def test_the_holdback_tells_what_the_promotion_brought(database_url: str) -> None:
    experiment = promote(database_url)
    keep(database_url, experiment, (0.6, 0.65))
    assert look_at_holdback(database_url, RULES, name="demo", actor="schedule")
    history = read_history(database_url, experiment.experiment_id)
    [gain] = history.gains
    # The traffic since alone: 0.65 − 0.6; the canary's 0.7 − 0.6 stays out of it.
    assert (gain.before, gain.after, gain.users) == (pytest.approx(0.6), pytest.approx(0.65, abs=1e-3), (300, 2700))
    assert gain.held_back == pytest.approx(0.05, abs=1e-3)
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < 0.05 < gain.high
    assert gain.high - gain.low < 0.3
    assert gain.seen == pytest.approx(0.1, abs=2e-3)
    assert gain.corrected is not None
    assert gain.together is not None
    assert 0.0 < gain.corrected <= gain.seen + 1e-6
    assert 0.05 < gain.together < gain.corrected
    told = tell(history)
    assert "v2 is the champion. Since the promotion, against the 300 users who kept v1, v2's share of thumbs up" in told
    assert "(the experiment saw +10 points, +10.0 points without its luck)" in told


def test_a_look_is_due_every_six_hours_and_once_more_at_the_end(database_url: str) -> None:
    experiment = promote(database_url)
    assert look_at_holdback(database_url, RULES, name="demo", actor="schedule")
    assert not look_at_holdback(database_url, RULES, name="demo", actor="schedule")
    assert not look_at_holdback(database_url, RULES, name="other", actor="schedule")
    pass_time(database_url, 7)
    assert look_at_holdback(database_url, RULES, name="demo", actor="schedule")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE experiments SET holdback_until = now()")
    assert look_at_holdback(database_url, RULES, name="demo", actor="schedule")
    assert end_due(database_url, actor="schedule") == [experiment.experiment_id]
    assert not look_at_holdback(database_url, RULES, name="demo", actor="schedule")
    log = read_rollout(database_url, "demo")[1]
    assert sum(entry.action == "holdback_look" for entry in log) == 3
    [gain] = read_gains(log)
    assert (gain.held_back, gain.together) == (None, gain.corrected)
    assert gain.reason == "no data in control and treatment"


def test_a_cleared_guardrail_is_corrected_from_its_margin(database_url: str) -> None:
    """D − δ₀ had to be z·SE with an e-value of 20; barely cleared, most of the way to the margin is luck."""
    experiment = promote(database_url, up=(0.6, 0.6))
    assert look_at_holdback(database_url, RULES, name="demo", actor="schedule")
    log = read_rollout(database_url, "demo")[1]
    [found] = next(entry.detail["evidence"] for entry in log if entry.action == "promote")["guardrails"]
    margin, error, tau = found["margin"], found["standard_error"], float(choose_tau(0.3 * found["control"], 0.05))
    z = next(z for z in np.arange(0.5, 8, 1e-4) if log_e_value(float(z), 1 / error**2, tau) >= np.log(20))
    told = correct_winner(found["difference"] - margin, error, float(z))
    [gain] = read_history(database_url, experiment.experiment_id).gains
    assert gain.corrected == pytest.approx(told.conditional + margin, abs=1e-5)


def test_holdbacks_are_unbiased_where_winners_are_not() -> None:
    """4,000 canaries of no effect, promoted where z > 2: seen 2.37 SE, held back 0, corrected in between."""
    generator = np.random.default_rng(3)
    seen = generator.normal(0.0, 1.0, 60_000)
    winners = seen[seen > 2][:600]
    held = generator.normal(0.0, 1.0, len(winners))
    found = [
        correct_winner(float(one), 1.0, 2.0, holdback=(float(other), 1.0))
        for one, other in zip(winners, held, strict=True)
    ]
    means = {name: np.mean([getattr(one, name) for one in found]) for name in ("naive", "conditional", "estimate")}
    assert means["naive"] > 2.3
    assert abs(held.mean()) < 3 / np.sqrt(len(held))
    assert means["estimate"] < means["conditional"] < means["naive"]


def test_what_is_shown_by_the_command(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = promote(database_url)
    keep(database_url, experiment, (0.6, 0.7))
    look_at_holdback(database_url, RULES, name="demo", actor="schedule")

    class Services:
        def __init__(self) -> None:
            self.database_url = database_url

    monkeypatch.setattr(experiments_commands, "open_services", lambda **_: Services())
    shown = CliRunner().invoke(experiments_commands.experiments, ["show", "demo"])
    assert shown.exit_code == 0, shown.output
    for part in (
        "held back, any look",
        "share of thumbs up",
        "60 % of 300 users",
        "70 % of 2,700 users",
        "+10.0 points",
    ):
        assert part in shown.output
    told = json.loads(CliRunner().invoke(experiments_commands.experiments, ["show", "demo", "--json"]).output)
    assert told["gains"][0]["held_back"] == pytest.approx(0.1, abs=1e-3)
    assert told["gains"][0]["users"] == [300, 2700]


GAIN = Gain("thumbs_up_rate", "lower", 0.08, 0.05, 0.6, 0.66, 0.06, 0.02, 0.1, 0.055, (310, 2700))


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        (GAIN, "share of thumbs up is higher by 6 points, +2 points to +10 points at any look (the experiment saw +8"),
        (replace(GAIN, low=-0.02), "not yet told from the old one's: −2 points to +10 points at any look"),
        (replace(GAIN, held_back=-0.06, low=-0.1, high=-0.02), "lower by 6 points, −10 points to −2 points at any"),
        (
            replace(GAIN, metric="tokens_per_answer", before=250.0, held_back=30.0, low=9.0),
            "higher by 30, +9",
        ),
    ],
    ids=["higher", "open", "lower", "tokens"],
)
def test_a_gain_is_told(gain: Gain, told: str) -> None:
    assert told in tell_gains((gain,), "v1", "v2")
    assert tell_gains((gain,), "v1", "v2").startswith("Since the promotion, against the 310 users who kept v1, v2's ")


def test_what_cannot_be_told_of_a_holdback_has_its_reason() -> None:
    silent = Gain("error_rate", "higher", 0.001, None, reason="burn-in: fewer than 50 users in an arm")
    assert tell_gains((silent,), "v1", "v2") == ""
    assert row_gain(silent)[3] == "burn-in: fewer than 50 users in an arm"
    assert row_gain(GAIN) == (
        "share of thumbs up",
        "60 % of 310 users",
        "66 % of 2,700 users",
        "+6 points (+2 points to +10 points)",
        "+8 points",
        "+5 points",
    )


def test_lines_of_other_versions_are_read_as_far_as_they_go() -> None:
    assert read_gains(()) == ()
    lines = [{"metric": "error_rate", "worse": "higher", "users": [1, 2], "later": 1}]
    [found] = read_gains((Entry(NOW, 0, "a", "holdback_look", {"gains": lines}),))
    assert (found.metric, found.users, found.held_back) == ("error_rate", (1, 2), None)
