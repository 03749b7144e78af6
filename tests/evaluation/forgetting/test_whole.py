"""Forgetting in a whole evaluation: the bare base answers for itself beside two adapters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flytewheel.evaluation.evaluate import Evaluation, evaluate
from flytewheel.evaluation.gate import decide
from flytewheel.recipe import BaseModelSpec, EvaluationSpec, ForgettingSpec, GateRule, GateSpec, SafetySpec
from flytewheel.records import Decision, read_jsonl

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # PEFT 0.21 asks transformers 5.23 by the old name
)
OFF = {"perplexity": None, "preference_accuracy": None, "regression_pass_rate": None, "degenerate_share": None}


def test_what_the_base_says_is_what_it_could(
    write_dataset: Callable[..., Path], base: BaseModelSpec, adapter: Path, other_adapter: Path, tmp_path: Path
) -> None:
    """The suite asks for the bare base's own answers, learnt from an evaluation of it: it passes all, adapters few."""

    def spec(cases: list[dict[str, str]]) -> EvaluationSpec:
        suite = tmp_path / "suite.jsonl"
        suite.write_text("".join(f"{json.dumps(case)}\n" for case in cases), encoding="utf-8")
        return EvaluationSpec(
            max_examples=2,
            max_new_tokens=8,
            bootstrap_samples=100,
            safety=SafetySpec(enable=False),
            forgetting=ForgettingSpec(suite=str(suite)),
        )

    def run(candidate: Path | None, champion: Path | None, cases: list[dict[str, str]]) -> Evaluation:
        return evaluate(
            write_dataset(),
            tmp_path / "out",
            candidate=candidate,
            champion=champion,
            base=base,
            evaluation=spec(cases),
            seed=7,
        )

    asked = [{"id": f"c{n}", "prompt": f"Say {n}!", "check": "forbidden", "expected": "\u2603"} for n in range(12)]
    bare = run(None, None, asked)
    assert bare.metrics["forgetting_share"].candidate.estimate == 0
    assert bare.metrics["general_perplexity_ratio"].candidate.estimate == 1
    said = {line["id"]: line["candidate"] for line in read_jsonl(tmp_path / "out" / "answers.jsonl") if "check" in line}
    known = [{**case, "check": "exact", "expected": said[case["id"]]} for case in asked if said[case["id"]].strip()]
    assert len(known) >= 10
    found = run(adapter, other_adapter, known)
    assert found.details["forgetting"]["base_passes"] == len(known)
    assert found.metrics["forgetting_share"].candidate.estimate > 0.5
    assert found.metrics["general_perplexity_ratio"].candidate.estimate != 1
    verdict = decide(found, GateSpec(**OFF, forgetting_share=GateRule(max=0.3)))
    assert verdict.decision is Decision.REJECT
    few = decide(run(adapter, other_adapter, known[:4]), GateSpec(**OFF, forgetting_share=GateRule(max=0.3)))
    assert few.decision is Decision.HOLD
    assert any("passes 4 of 4 general cases and it takes 10" in reason for reason in few.reasons)
