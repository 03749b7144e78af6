"""Plans by hand-worked figures, from a real database, and what would decide where a design cannot."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from flytewheel.cli import main
from flytewheel.errors import ExperimentError
from flytewheel.experiment.analysis.e_values import log_e_value
from flytewheel.experiment.metrics import METRICS
from flytewheel.experiment.planning.desk import Given, foretell, make_plan, settle_traffic
from flytewheel.experiment.planning.passage import find_boundaries, find_passage
from flytewheel.experiment.planning.past import find_returning, read_traffic
from flytewheel.experiment.planning.plan import WANTED, add_up, find_through, plan_design, with_share, with_users
from flytewheel.experiment.planning.remedies import find_remedies, widen
from flytewheel.experiment.planning.traffic import Baseline, Traffic, count_denominators, user_variance
from flytewheel.recipe import AbTestingSpec, Guardrail
from tests.experiment.canary import Served, open_canary, store
from tests.experiment.planning.simulated import draw_rates
from tests.experiment.reading.days import pass_time

TRAFFIC = Traffic(400, 0.2, 3.0, 1.0, {"thumbs_up_rate": Baseline(0.7, 0.5, 0.1), "error_rate": Baseline(0.02)})
DESIGN = AbTestingSpec(
    guardrails=[
        Guardrail(metric="thumbs_up_rate", relative_margin=0.12),
        Guardrail(metric="error_rate", absolute_margin=0.02),
    ],
    rollout_stages=(0.25, 0.5, 1.0),
    initial_traffic_split=0.25,
)


def test_users_days_and_variance_by_hand() -> None:
    """A pool of 400/0.5 = 800: after two days 800·(1 − 0.25) = 600 were seen; they were there 2·0.5/0.75 = 4/3 days."""
    traffic = Traffic(400, 0.5, 3.0, 1.0)
    assert traffic.count_users(2) == pytest.approx(600)
    assert traffic.count_days(2) == pytest.approx((4 / 3, (2 * 0.25 + 1) / 0.75))
    assert Traffic(400, 0.0).count_users(3) == pytest.approx(1200)
    assert Traffic(400, 0.0).count_days(3) == (1.0, 1.0)
    # Half of three requests are voted on: E N = 1.5·4/3 = 2, E N² = 0.25·10·2 + 0.25·3·4/3 = 6.
    counted = count_denominators(traffic, Baseline(0.8, 0.5), 2)
    assert (counted.mean, counted.square) == pytest.approx((2.0, 6.0))
    # 0.16·(0.9·2 + 0.1·6)/4 = 0.096
    assert user_variance(Baseline(0.8, 0.5, 0.1), 0.8, counted) == pytest.approx(0.096)


def test_boundaries_and_passage_by_hand() -> None:
    information = np.array([10.0, 400.0, 90_000.0])
    bounds = find_boundaries(information, 0.08, math.log(20))
    assert log_e_value(bounds, information, 0.08) == pytest.approx(math.log(20), abs=1e-6)
    # One look without drift: Φ(−1.96) on either side; a second one without new information adds nothing.
    passage = find_passage([4.0, 4.0], 0.0, [-1.96, -1.96], [1.96, 1.96])
    assert passage.below == pytest.approx([0.025, 0.0], abs=1e-4)
    assert passage.above == pytest.approx([0.025, 0.0], abs=1e-4)
    # Pocock's two looks at 2.178 keep 5 % (Jennison and Turnbull 2000, table 2.1).
    pocock = find_passage([1.0, 2.0], 0.0, [-2.178] * 2, [2.178] * 2)
    assert float(pocock.below.sum() + pocock.above.sum()) == pytest.approx(0.05, abs=1e-4)
    # Two stages that are each cleared at their first look, of three, have both come through at the second.
    assert add_up([np.array([0.8, 0.9, 1.0]), np.array([0.5, 0.6, 1.0])]) == pytest.approx(0.8 * 0.6 + 0.1 * 0.5)


def test_a_plan_says_when_and_what(tmp_path: Path) -> None:
    plan = plan_design(DESIGN, TRAFFIC, max_days=40)
    assert [stage.share for stage in plan.stages] == [0.25, 0.5]
    assert plan.decides
    assert plan.comes_through >= WANTED
    first, second = plan.stages
    assert first.days is not None
    assert second.days is not None
    assert first.days > second.days  # more users meet it
    for stage in plan.stages:
        for guarded in stage.guardrails:
            assert guarded.detectable is not None
            assert guarded.margin < guarded.detectable
    assert plan.primary[-1].mde is not None
    assert plan.primary[0].boundary > plan.primary[-1].boundary


def test_a_design_that_cannot_decide_says_what_would() -> None:
    small = replace(TRAFFIC, users_per_day=120, returning=0.05)
    plan = plan_design(DESIGN, small, max_days=14)
    assert not plan.decides
    assert "is wanted; the slowest is stage 0 at 25%, and there" in plan.limits[0]
    found = find_remedies(DESIGN, small, max_days=14)
    # What is said would do, does; a little less would not.
    assert found.users_per_day is not None
    assert find_through(DESIGN, with_users(small, found.users_per_day), max_days=14) >= WANTED
    assert find_through(DESIGN, with_users(small, 0.93 * found.users_per_day), max_days=14) < WANTED
    assert found.margin is not None
    assert find_through(widen(DESIGN, found.margin), small, max_days=14) >= WANTED
    assert find_through(widen(DESIGN, 0.93 * found.margin), small, max_days=14) < WANTED
    assert found.max_days is not None
    assert find_through(DESIGN, small, max_days=found.max_days) >= WANTED - 0.01
    if found.share is not None:
        assert find_through(with_share(DESIGN, found.share), small, max_days=14) >= WANTED - 0.01


def store_past(database_url: str, *, days: int, pool: int, returning: float, rate: float) -> None:
    """`days` of an experiment's traffic, everybody's votes drawn."""
    chance = np.random.default_rng(3)
    experiment = open_canary(database_url, share=0.5)
    own = draw_rates(chance, Baseline(rate, correlation=0.2), np.full(pool, rate))
    start = 0
    for _ in range(days):
        rows = []
        for user in np.flatnonzero(chance.random(pool) < returning):
            for _ in range(2):
                said = (("thumbs_up" if chance.random() < own[user] else "thumbs_down", None),)
                latency = float(np.exp(chance.normal(5, 0.4)))
                rows.append(Served(f"u{user}", "control", latency, failed=chance.random() < 0.04, said=said))
        store(database_url, experiment, rows, start=start)
        start += len(rows)
        pass_time(database_url, 24)


def test_the_past_is_read_as_it_was_drawn(database_url: str) -> None:
    store_past(database_url, days=6, pool=250, returning=0.3, rate=0.7)
    asked = ("thumbs_up_rate", "error_rate", "latency_p95")
    traffic = read_traffic(database_url, "demo", [METRICS[each] for each in asked])
    assert traffic is not None
    assert traffic.users_per_day == pytest.approx(75, rel=0.1)
    assert traffic.returning == pytest.approx(0.3, abs=0.06)
    assert (traffic.requests, traffic.requests_spread) == pytest.approx((2.0, 0.0))
    thumbs = traffic.baselines["thumbs_up_rate"]
    assert thumbs.rate == pytest.approx(0.7, abs=0.05)
    assert thumbs.counted == pytest.approx(1.0)
    assert thumbs.correlation == pytest.approx(0.2, abs=0.1)
    assert thumbs.spread == pytest.approx(0.4, abs=0.05)
    assert traffic.baselines["error_rate"].rate == pytest.approx(0.04, abs=0.02)
    assert traffic.baselines["latency_p95"].rate == pytest.approx(0.05, abs=0.002)
    assert read_traffic(database_url, "nobody", [METRICS["error_rate"]]) is None
    told = foretell(database_url, "demo", AbTestingSpec())
    assert told[0].startswith("traffic (the last 6 days of demo, ")
    assert told[-1] == "`flytewheel experiments plan RECIPE` says what would decide"
    assert foretell(database_url, "nobody", AbTestingSpec())[0].startswith("not planned: no traffic of 'nobody'")


def test_the_returning_rate_is_found_back() -> None:
    for returning in (0.0, 0.05, 0.4, 0.9):
        seen = Traffic(100, returning).count_users(28)
        assert find_returning(100, seen, 28) == pytest.approx(returning, abs=1e-3)


def test_what_is_given_goes_first() -> None:
    past = Traffic(100, 0.1, baselines={"error_rate": Baseline(0.02, correlation=0.3)}, source="the past")
    found = settle_traffic(past, Given(users_per_day=500, votes=0.1, baselines={"thumbs_up_rate": 0.8}), "demo")
    assert (found.users_per_day, found.returning, found.source) == (500, 0.1, "the past, with what was given")
    assert found.baselines["error_rate"] == Baseline(0.02, correlation=0.3)
    assert found.baselines["thumbs_up_rate"] == Baseline(0.8, counted=0.1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Given(), "no traffic of 'demo' is stored to plan by: give --users-per-day"),
        (Given(users_per_day=100), "no baseline of 'thumbs_up_rate' (known: latency_p95): give --baseline"),
        (Given(users_per_day=100, baselines={"thumbs_up_rate": 1.5}), "--baseline thumbs_up_rate=1.5: expected a rate"),
        (Given(users_per_day=math.nan), "users a day must be above 0, not nan"),
    ],
    ids=["nothing", "no-baseline", "no-rate", "nan"],
)
def test_what_cannot_be_planned_is_said(given: Given, said: str) -> None:
    with pytest.raises(ExperimentError) as refused:
        make_plan(DESIGN, "demo", given=given, max_days=14)
    assert said in str(refused.value)


def call(tmp_path: Path, *arguments: str, **changes: Any) -> Result:
    recipe = yaml.safe_load((Path(__file__).parents[3] / "recipes" / "demo.yaml").read_text())
    recipe["ab_testing"] = DESIGN.model_dump(mode="json") | {"metrics": []} | changes
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    given = ["experiments", "plan", str(tmp_path / "recipe.yaml"), "--no-database", *arguments]
    return CliRunner(env={"FLYTEWHEEL_HOME": str(tmp_path)}).invoke(main, given)


def test_the_command_prints_draws_and_refuses(tmp_path: Path) -> None:
    traffic = ("--returning", "0.2", "--requests", "3", "--votes", "0.5")
    rates = ("--baseline", "thumbs_up_rate=0.7", "--baseline", "error_rate=0.02")
    png, svg = tmp_path / "plan.png", tmp_path / "plan.svg"
    good = call(tmp_path, "--users-per-day", "900", *traffic, *rates, "--picture", str(png))
    assert good.exit_code == 0, good.stderr
    assert "a candidate as good as the champion is released after" in good.stdout
    assert png.read_bytes().startswith(b"\x89PNG")
    drawn = call(tmp_path, "--users-per-day", "900", *traffic, *rates, "--picture", str(svg), "--json")
    told = json.loads(drawn.stdout)
    assert told["decides"] is True
    assert told["stages"][0]["guardrails"][0]["metric"] == "thumbs_up_rate"
    assert "error_rate: worse, taken back in 28 days" in svg.read_text()
    refused = call(tmp_path, "--users-per-day", "30", *traffic, *rates, "--max-days", "14")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: a candidate as good as the champion comes through all 2 stages within 14")
    assert "would decide by itself: users a day: " in refused.stdout
    strange = call(tmp_path, "--users-per-day", "900", *rates, "--harm", "smiles=2")
    assert strange.stderr.startswith("error: harm of smiles: no such guardrail; there are error_rate, thumbs_up_rate")
    wrong = call(tmp_path, "--users-per-day", "900", *traffic, *rates, "--picture", str(tmp_path / "plan.gif"))
    assert wrong.exit_code == 1
    assert "expected a name that ends in .svg or .png" in wrong.stderr
    assert call(tmp_path, "--baseline", "error_rate").exit_code == 2
