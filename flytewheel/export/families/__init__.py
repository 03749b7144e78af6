"""The architectures that can be written as GGUF: for each, which options llama.cpp wants to know and where each tensor
goes. `find_family` picks one by the configuration; `plan` is the shape that all of them fill.
"""

from __future__ import annotations

from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.families import gemma, llama, qwen
from flytewheel.export.families.plan import Family, PlannedTensor

__all__ = ["Family", "PlannedTensor", "find_family"]

FAMILIES: dict[str, Family] = {
    "Gemma2ForCausalLM": gemma.GEMMA2,
    "Gemma3ForCausalLM": gemma.GEMMA3,
    "Gemma3ForConditionalGeneration": gemma.GEMMA3,
    "LlamaForCausalLM": llama.LLAMA,
    "MistralForCausalLM": llama.MISTRAL,
    "Qwen2ForCausalLM": qwen.QWEN2,
    "Qwen3ForCausalLM": qwen.QWEN3,
    "SmolLM3ForCausalLM": llama.SMOLLM3,
}


def find_family(config: Any) -> Family:
    """The family of a model, by its transformers configuration.

    Raises:
        ExportError: it is not one of those that can be written, or uses an option of it that cannot.
    """
    given = (getattr(config, "architectures", None) or ["unknown"])[0]
    if given not in FAMILIES:
        raise ExportError(f"architecture {given} cannot be written as GGUF: expected one of {', '.join(FAMILIES)}")
    family = FAMILIES[given]
    for what, present in family.refused(config).items():
        if present:
            raise ExportError(f"{given} with {what} cannot be written as GGUF; take a base without")
    return family
