"""Qwen 2 (biases on q, k and v) and Qwen 3 (norms on q and k): tensors as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytewheel.export.families.llama import refuse_common, write_decoder_options
from flytewheel.export.families.plan import Family, PlannedTensor, place_plainly
from flytewheel.export.source import SourceTensor


def _refuse(config: Any) -> dict[str, bool]:
    sliding = bool(getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", False))
    return {"a sliding window": sliding, **refuse_common(config)}


def _plan_qwen2(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return place_plainly("qwen2", config, tensors, layers=config.num_hidden_layers)


def _plan_qwen3(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return place_plainly("qwen3", config, tensors, layers=config.num_hidden_layers)


QWEN2 = Family("qwen2", _refuse, write_decoder_options, _plan_qwen2)
QWEN3 = Family("qwen3", _refuse, write_decoder_options, _plan_qwen3)
