from __future__ import annotations

from dataclasses import replace

import pytest

from flytewheel.planning import arithmetic
from flytewheel.planning.forecast import Forecast, Part, Price, judge_hours, judge_memory
from flytewheel.planning.probe import STEPS, Probe, fit_line, shorten
from flytewheel.profiles import find_device
from flytewheel.recipe import BudgetSpec
from tests.llama import LLAMA, make_recipe

PART = Part("sft", "sft", "900 rows", rows=900, steps=900, seconds=(5400.0, 9000.0), memory=4_000_000_000, disk=100)


def test_parts_add_up_but_for_memory() -> None:
    other = Part("align", "dpo", "", steps=100, seconds=(600.0, 1000.0), memory=6_000_000_000, disk=50)
    whole = Forecast("made", "llama", 8, "cpu", "d" * 64, (PART, other), price=Price(3.0, "EUR"))
    assert whole.seconds == (6000.0, 10_000.0)
    assert (whole.memory, whole.disk) == (6_000_000_000, 150)
    total = whole.to_json()["total"]
    assert total["hours"] == pytest.approx([6000 / 3600, 10_000 / 3600])
    assert total["cost"] == pytest.approx([5.0, 8.333333])
    assert Price(3.0, "EUR").describe((6000.0, 10_000.0)) == "5.00 to 8.33 EUR"
    assert "cost" not in replace(whole, price=None).to_json()["total"]


def test_hours_are_compared_with_what_is_left() -> None:
    """Between 1.5 and 2.5 hours, 2 in the middle: of 900 steps one hour is enough for 450."""
    assert judge_hours(BudgetSpec(), 0.0, PART) == ""
    assert judge_hours(BudgetSpec(hours=3), 0.0, PART) == "budget.hours 3: fits"
    assert judge_hours(BudgetSpec(hours=3), 3600.0, PART) == "budget.hours 3: may not suffice"
    assert judge_hours(BudgetSpec(hours=2), 3600.0, PART) == "budget.hours 2: would stop at about step 450 of 900"
    assert judge_hours(BudgetSpec(hours=2), 7200.0, PART) == "budget.hours 2: would not begin"
    assert judge_memory(BudgetSpec(memory_gb=4), PART) == "budget.memory_gb 4: fits"
    assert judge_memory(BudgetSpec(memory_gb=3), PART).startswith("budget.memory_gb 3: 4 GB were measured; ")


def test_operations_of_llama_8b_by_hand() -> None:
    """7,504,924,672 parameters in matrices that multiply (the input embedding aside), 2 each; attention of 1,000 tokens
    4 x 4096 x 1000 x 32; forward, backward and, above 1 G parameters, forward again. DPO's reference is no part of a
    step; KTO's KL term is. The gradients of all weights are another pass.
    """
    forward = 2 * (8_030_261_248 - 128_256 * 4096) + 4 * 4096 * 1000 * 32
    assert arithmetic.count_forward(LLAMA, 1000) == forward
    for method, full, passes in (("sft", False, 3), ("dpo", False, 3), ("kto", False, 4), ("sft", True, 4)):
        assert arithmetic.count_operations(LLAMA, method, 1000, full=full) == passes * forward
    least, most = arithmetic.predict(1e12, 1e10)
    assert 100 < least < most < 1000


def test_the_rate_of_this_device_is_measured() -> None:
    from flytewheel.models import POCKET
    from flytewheel.training.memory import measure_folder

    assert 1e8 < arithmetic.measure_rate(measure_folder(POCKET), find_device(), 512) < 1e15


def test_a_line_through_steps() -> None:
    """0.5 s a step and 2 ms a token; steps of one length say nothing of the former."""
    assert fit_line([(100, 0.7), (200, 0.9), (400, 1.3)]) == pytest.approx((0.5, 0.002))
    assert fit_line([(100, 0.7), (100, 0.9)]) == pytest.approx((0.0, 0.008))
    assert fit_line([(100, 1.0), (200, 0.5)]) == pytest.approx((0.0, 0.005))


def test_a_probe_predicts_by_tokens_and_leaves_out_its_first_steps() -> None:
    tokens = tuple(100 + 50 * (n % 5) for n in range(20))
    seconds = (60.0, 30.0, *(0.5 + 0.002 * count for count in tokens[2:]))
    least, most = Probe(20, tokens, seconds, 3.0, 1, "").predict(20_000, 100)
    assert least == pytest.approx(90 * 0.9)
    assert most == pytest.approx(90 * 1.1)


def test_a_probe_is_short_and_takes_the_method_that_was_chosen() -> None:
    recipe = make_recipe(rlhf={"min_preference_pairs": 500})
    assert shorten(recipe, "sft").training.max_steps == STEPS == 20
    rlhf = shorten(recipe, "kto").rlhf
    assert (rlhf.method, rlhf.max_steps, rlhf.min_unpaired) == ("kto", 20, 1)
    assert rlhf.batch_size == recipe.rlhf.batch_size


def test_a_probe_takes_the_share_of_one_process() -> None:
    shared = {"nodes": 2, "gpus_per_node": 2, "batch_size": 4, "gradient_accumulation": 2}
    recipe = make_recipe(training=shared, rlhf={"batch_size": 4, "gradient_accumulation": 3})
    training = shorten(recipe, "sft").training
    assert (training.processes, training.batch_size, training.gradient_accumulation) == (1, 2, 1)
    alone = shorten(recipe, "dpo")
    assert (alone.training.processes, alone.rlhf.batch_size, alone.rlhf.gradient_accumulation) == (1, 3, 1)
