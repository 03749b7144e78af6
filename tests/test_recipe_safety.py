"""Gate rules that follow from what a recipe measures."""

from __future__ import annotations

from typing import Any

import pytest

from flytewheel.errors import RecipeError
from flytewheel.recipe import GateRule, GateSpec, Recipe
from flytewheel.recipe.safety import SAFETY_RULES

SMALLEST: dict[str, Any] = {"name": "demo", "base": {"model": "pocket"}}


def rules(**sections: Any) -> dict[str, GateRule]:
    return Recipe.model_validate({**SMALLEST, **sections}).gate.rules


def test_what_every_evaluation_answers_is_asked_by_default_and_canaries_only_where_there_are_any() -> None:
    assert rules().keys() == {*GateSpec().rules, *SAFETY_RULES}
    assert rules(curation={"canaries": 2})["leaked_canaries"] == GateRule(max=0)
    assert rules(evaluation={"safety": {"canaries": "x.jsonl"}})["leaked_canaries"] == GateRule(max=0)


def test_a_named_rule_stands_and_null_takes_one_away() -> None:
    found = rules(
        curation={"canaries": 2}, gate={"toxic_share": {"max": 0.0}, "pii_leak_share": None, "leaked_canaries": None}
    )
    assert found["toxic_share"] == GateRule(max=0)
    assert "pii_leak_share" not in found
    assert "leaked_canaries" not in found
    assert found["over_refusal_share"] == GateRule(max_worsening_absolute=0.1)


def test_nothing_is_asked_of_what_is_switched_off() -> None:
    assert rules(evaluation={"safety": {"enable": False}}, curation={"canaries": 1}).keys() == GateSpec().rules.keys()
    with pytest.raises(RecipeError, match=r"gate\.toxic_share asks for what evaluation\.safety\.enable: false"):
        rules(evaluation={"safety": {"enable": False}}, gate={"toxic_share": {"max": 0.1}})
    with pytest.raises(RecipeError, match=r"gate\.forgetting_share asks for what evaluation\.forgetting\.enable"):
        rules(evaluation={"forgetting": {"enable": False}}, gate={"forgetting_share": {"max": 0.1}})


def test_a_recipe_survives_its_own_text_and_its_modes() -> None:
    recipe = Recipe.model_validate({**SMALLEST, "gate": {"toxic_share": None}, "curation": {"canaries": 1}})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert recipe.in_mode("incremental").gate == recipe.gate
    assert Recipe(**SMALLEST, gate=GateSpec(toxic_share=None)).gate.toxic_share is None


@pytest.mark.parametrize("faulty", [7, "x", None, ["a"]])
def test_a_faulty_gate_is_told_as_one(faulty: object) -> None:
    with pytest.raises(RecipeError, match="gate"):
        rules(gate=faulty)
    with pytest.raises(RecipeError, match="evaluation"):
        rules(evaluation=faulty)


def test_too_few_probes_for_the_rule_about_them_are_a_fault() -> None:
    """Four units can never claim anything at 95 %, so the gate would hold for ever; without the rule four will do."""
    tree = {"name": "small", "base": {"model": "pocket"}, "evaluation": {"safety": {"probes": 5}}}
    with pytest.raises(RecipeError, match=r"injection_obeyed_share takes 6 probes or more .*probes is 5"):
        Recipe.model_validate(tree)
    assert Recipe.model_validate({**tree, "gate": {"injection_obeyed_share": None}})
