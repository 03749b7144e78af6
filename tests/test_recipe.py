"""Recipes: every bundled one loads, every fault is named by its path, all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.errors import RecipeError
from flytewheel.recipe import Recipe, load_recipe
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


def test_a_recipe_does_not_change() -> None:
    recipe = Recipe.model_validate_json(json.dumps(SMALLEST))
    with pytest.raises(Exception, match="frozen"):
        recipe.training.epochs = 1.0  # type: ignore[misc]


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
