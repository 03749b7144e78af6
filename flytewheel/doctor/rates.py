"""Learning rates that are LoRA's where all weights are trained: a doubt, never a refusal.

LoRA wants about ten times the rate of full weights (Schulman et al. 2025, "LoRA without regret"); DPO of a 7 G model's
full weights was published at 5e-7 (Tunstall et al. 2023, arXiv:2310.16944). A model of a few million parameters takes
more of either, so that the doubt may be wrong there. ORPO is left alone: its loss is mostly imitation, and its rates
lie between.
"""

from __future__ import annotations

from collections.abc import Iterator

from flytewheel.doctor.findings import Finding, doubtful
from flytewheel.recipe import Recipe, RlhfSpec, TrainingSpec

_LORA_SFT = float(TrainingSpec.model_fields["learning_rate"].default)
_LORA_RLHF = float(RlhfSpec.model_fields["learning_rate"].default)


def judge_rates(recipe: Recipe) -> Iterator[Finding]:
    """Rates of a recipe that trains all weights, when they are LoRA's defaults or more."""
    training, rlhf = recipe.training, recipe.rlhf
    if training.adapter != "full":
        return
    if training.learning_rate >= _LORA_SFT:
        yield doubtful(
            f"training.learning_rate: {training.learning_rate:g} is a rate for LoRA, training.adapter is 'full'",
            "take about a tenth, 2e-5 for a model of some billion parameters",
        )
    if rlhf.enable and rlhf.method != "orpo" and rlhf.learning_rate >= _LORA_RLHF:
        yield doubtful(
            f"rlhf.learning_rate: {rlhf.learning_rate:g} is a rate for LoRA, training.adapter is 'full'",
            "take 5e-7 for a model of some billion parameters",
        )
