"""Recipes: every bundled one loads, every fault is named by its path, all at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.errors import RecipeError
from flytewheel.recipe import IncrementalSpec, Recipe, TrainingSpec, load_recipe
from flytewheel.recipe.incremental import shrink
from flytewheel.records import digest
from flytewheel.strict import Section

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))
SMALLEST = {"name": "demo", "base": {"model": "pocket"}}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_bundled_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_the_three_ways_of_running_are_bundled() -> None:
    assert {"demo", "laptop", "gpu-8b"} <= {path.stem for path in RECIPES}


def test_the_8b_recipe_has_the_reference_figures() -> None:
    training = load_recipe(RECIPES[0].parent / "gpu-8b.yaml").training
    figures = (training.lora_rank, training.lora_alpha, training.lora_dropout, training.learning_rate, training.epochs)
    assert figures == (16, 32, 0.05, 2e-4, 3)
    assert (training.weight_decay, training.gradient_accumulation) == (0.01, 4)
    assert training.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj")


def test_all_faults_are_reported_with_their_paths(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "name: Demo\ntraining: {lerning_rate: 1, epochs: many, lora_rank: 2.5}\n"
        "rlhf: {method: ppo}\nab_testing: {rollout_stages: [0.5, 0.1]}\nexport: {serve: Q6_K}\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in (
        "name: ",
        "base: required, but missing",
        "training.lerning_rate: unknown key",
        "training.epochs: ",
        "training.lora_rank: ",
        "rlhf: method 'ppo' is not offered",
        "ab_testing: rollout_stages must grow",
        "export: serve 'Q6_K' must be one of",
    ):
        assert part in message
    assert len(caught.value.faults) == 8


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "expected sections"),
        ("- a\n", "expected sections"),
        ("a: [1", "expected ',' or ']'"),
        ("\x00", "special characters"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=cause) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("guardrails", "cause"),
    [
        ("[{metric: latency_p95, absolute_margin: 0.1}]", "latency_p95 takes a relative_margin"),
        ("[{metric: error_rate}]", "give either relative_margin or absolute_margin"),
        ("[{metric: x, absolute_margin: 0.1}, {metric: x, relative_margin: 0.1}]", "name a metric twice"),
    ],
)
def test_a_guardrail_has_one_margin_that_means_something(tmp_path: Path, guardrails: str, cause: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(f"name: demo\nbase: {{model: pocket}}\nab_testing: {{guardrails: {guardrails}}}\n")
    with pytest.raises(RecipeError, match=cause):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("base: {model: pocket, trust_remote_code: true}", "base.trust_remote_code"),
        ("base: {model: pocket, trust-remote-code: false}", "base.trust-remote-code"),
        ("trust_remote_code: true\nbase: {model: pocket}", "trust_remote_code"),
        (
            "base: {model: pocket}\ntraining: {loading: [{Trust_Remote_Code: 1}]}",
            "training.loading.0.Trust_Remote_Code",
        ),
    ],
)
def test_no_recipe_reaches_the_code_of_a_model(text: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"name: demo\n{text}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "r.yaml")
    reason = f"{path}: never: a recipe cannot let code that came with a model run here"
    assert [fault.startswith(reason) for fault in caught.value.faults].count(True) == 1
    assert f"{path}: unknown key" not in str(caught.value)


def test_a_missing_file_is_said() -> None:
    with pytest.raises(RecipeError, match=r"nowhere.yaml: cannot be read \(No such file"):
        load_recipe("nowhere.yaml")


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nbase: {model: pocket}\ntraining: {learning_rate: 2e-4}\n")
    assert load_recipe(path).training.learning_rate == 2e-4


@pytest.mark.parametrize("value", [".nan", ".inf", "'0.1'", "true"])
def test_what_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"name: a\nbase: {{model: pocket}}\nrlhf: {{beta: {value}}}\n")
    with pytest.raises(RecipeError, match=r"rlhf\.beta"):
        load_recipe(path)


@pytest.mark.parametrize(("text", "packing"), [("auto", "auto"), ("true", True), ("false", False)])
def test_packing_is_the_devices_choice_or_the_recipes(text: str, packing: object, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nbase: {{model: pocket}}\ntraining: {{packing: {text}}}\n")
    recipe = load_recipe(path)
    assert recipe.training.packing == packing
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("text", ["sometimes", "1", "'true'"])
def test_any_other_packing_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nbase: {{model: pocket}}\ntraining: {{packing: {text}}}\n")
    with pytest.raises(RecipeError, match=r"training\.packing"):
        load_recipe(path)


def test_a_recipe_does_not_change() -> None:
    recipe = Recipe.model_validate_json(json.dumps(SMALLEST))
    with pytest.raises(Exception, match="frozen"):
        recipe.training.epochs = 1.0  # type: ignore[misc]


def test_a_small_turn_takes_few_gentle_steps_and_keeps_ten_checkpoints() -> None:
    full = load_recipe(RECIPES[0].parent / "gpu-8b.yaml")
    assert (full.mode, full.settle()) == ("full", full)
    asked = full.in_mode("incremental")
    settled = asked.settle()
    assert len({digest(full), digest(asked), digest(settled)}) == 3
    for part, rate in ((settled.training, 1e-4), (settled.rlhf, 2.5e-6)):
        figures = (part.batch_size, part.gradient_accumulation, part.max_steps, part.checkpoint_every)
        assert (part.learning_rate, figures) == (rate, (4, 8, 10, 1))
        assert part.keep_checkpoints == 10
    small = full.automation.incremental
    assert (small.after_interactions, small.after_hours) == (1000, 24)
    assert settled.curation.min_interactions == small.fewest == 200
    assert settled.settle() == settled
    assert settled.training.lora_rank == full.training.lora_rank
    assert Recipe.model_validate_json(settled.model_dump_json()) == settled


@pytest.mark.parametrize(
    ("batch", "steps", "keep", "figures"),
    [(64, None, 10, (32, 1, 10, 1)), (5, 8, 3, (5, 6, 8, 3)), (4, 400, 4, (4, 8, 10, 3))],
)
def test_what_a_small_turn_makes_of_the_training(
    batch: int, steps: int | None, keep: int, figures: tuple[int, int, int, int]
) -> None:
    small = shrink(TrainingSpec(batch_size=batch, max_steps=steps), IncrementalSpec(keep_checkpoints=keep))
    assert (small.batch_size, small.gradient_accumulation, small.max_steps, small.checkpoint_every) == figures


def test_a_small_turn_needs_room_in_its_window(tmp_path: Path) -> None:
    tight = {**SMALLEST, "curation": {"min_interactions": 10, "max_interactions": 500}}
    recipe = Recipe.model_validate(tight)  # nobody wants one
    message = r"automation\.incremental\.after_interactions 1000 must not exceed curation\.max_interactions 500"
    with pytest.raises(RecipeError, match=message):
        recipe.in_mode("incremental")
    with pytest.raises(RecipeError, match=message):
        Recipe.model_validate({**tight, "automation": {"incremental": {"enable": True}}})
    with pytest.raises(RecipeError, match=r"mode: .* got 'small'"):
        Recipe.model_validate({**SMALLEST, "mode": "small"})


def _sections(kind: type[Section], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found.extend(_sections(field.annotation, (*path, name)))
    return found


@given(st.sampled_from(_sections(Recipe)), st.text("abcdefghij_", min_size=9, max_size=12))
def test_a_misspelt_key_is_named_in_every_section(path: tuple[str, ...], key: str) -> None:
    raw = json.loads(json.dumps(SMALLEST))
    section = raw
    for name in path:
        section = section.setdefault(name, {})
    section[key] = 1
    with pytest.raises(RecipeError) as caught:
        Recipe.model_validate_json(json.dumps(raw))
    assert f"{'.'.join((*path, key))}: unknown key" in caught.value.faults


def test_grpo_and_its_reward_model_have_fields_of_their_own() -> None:
    recipe = Recipe.model_validate(SMALLEST)
    assert (recipe.reward.enable, recipe.reward.min_pairs, recipe.reward.epochs) == ("auto", 500, 1.0)
    assert (recipe.rlhf.grpo.group_size, recipe.rlhf.grpo.kl_weight, recipe.rlhf.grpo.temperature) == (8, 0.04, 1.0)
    asked = Recipe.model_validate({**SMALLEST, "reward": {"enable": True}, "rlhf": {"method": "grpo"}})
    assert (asked.reward.enable, asked.rlhf.method) == (True, "grpo")


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        ({"reward": {"enable": "always"}}, "reward.enable"),
        ({"reward": {"min_pairs": 0}}, "reward.min_pairs: "),
        ({"rlhf": {"grpo": {"group_size": 1}}}, "rlhf.grpo.group_size: "),
        ({"rlhf": {"grpo": {"kl_weight": 0}}}, "rlhf.grpo.kl_weight: "),
        (
            {"rlhf": {"method": "grpo", "batch_size": 3}},
            "rlhf: batch_size x gradient_accumulation is 12 answers a step, not a multiple of grpo.group_size 8",
        ),
        ({"rlhf": {"method": "grpo"}, "training": {"adapter": "full"}}, "rlhf.method 'grpo' trains an adapter"),
    ],
)
def test_what_grpo_cannot_do_is_a_fault_of_the_recipe(sections: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.model_validate({**SMALLEST, **sections})
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_that_no_group_fills_is_fine_without_grpo() -> None:
    assert Recipe.model_validate({**SMALLEST, "rlhf": {"batch_size": 3}}).rlhf.batch_size == 3


def test_a_budget_limits_nothing_unless_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: made\nbase: {model: pocket}\n")
    budget = load_recipe(path).budget
    assert (budget.hours, budget.memory_gb) == (None, None)
    path.write_text("name: made\nbase: {model: pocket}\nbudget: {hours: 2, memory_gb: 1.5}\n")
    budget = load_recipe(path).budget
    assert (budget.hours, budget.memory_gb) == (2.0, 1.5)
    path.write_text("name: made\nbase: {model: pocket}\nbudget: {hours: 0, memory_gb: much}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["budget.hours", "budget.memory_gb"]


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (
            {"must_improve": ["rouge_l"], "must_not_worsen": ["perplexity", "degenerate_share"], "margin": 0.1},
            "gate: must_improve, must_not_worsen, margin: a gate has a rule a figure now, write rouge_l: "
            "{improve: true}; perplexity: {max_worsening: 0.1}; degenerate_share: {max_worsening_absolute: 0.1}; "
            "preference_accuracy: null; regression_pass_rate: null",
        ),
        ({"margin": 0.02}, "write preference_accuracy: {improve: true}; perplexity: {max_worsening: 0.02}"),
        ({"must_improve": None}, "gate: must_improve: a gate has a rule a figure now"),
        (
            {"regressions": {"improve": True}},
            "gate.regressions: a count has no interval and no champion: ask for max or",
        ),
        ({"length_ratio": {"max_worsening": 0.1}}, "gate.length_ratio: neither more nor less of it is better"),
        ({"bleu": {"min": 3, "max": 2}}, "gate.bleu: no figure is at least 3 and at most 2"),
        ({"bleu": {"min_lower_bound": 2, "max_upper_bound": 2}}, "gate.bleu: no interval lies above 2 and below 2"),
        ({"bleu": {}}, "gate.bleu: asks for nothing"),
        ({"bleu": {"improve": False}}, "gate.bleu: asks for nothing"),
        ({"bleu": {"min": float("nan")}}, "gate.bleu.min: "),
        ({"bleu": {"max_worsening": 0.1, "max_worsening_absolute": 0.1}}, "give either max_worsening or"),
        ({"likeable": {"improve": True}}, "gate.likeable: unknown key"),
    ],
)
def test_a_gate_that_cannot_be_meant_is_one_line_with_what_to_write(gate: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, "gate": gate})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_an_old_gate_is_told_to_write_is_a_gate() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.model_validate({"name": "oncall", "base": {"model": "pocket"}, "gate": {"must_improve": ["rouge_l"]}})
    told = str(caught.value).partition("now, write ")[2]
    written = Recipe.model_validate(
        {"name": "oncall", "base": {"model": "pocket"}, "gate": yaml.safe_load(told.replace("; ", "\n"))}
    )
    assert written.gate.rules["rouge_l"].improve
    assert written.gate.rules["perplexity"].max_worsening == 0.05
    assert written.gate.preference_accuracy is None
