"""Qwen 2 (biases on q, k and v) and Qwen 3 (norms on q and k): tensors as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytewheel.export.families.decoder import (
    find_window,
    list_shapes,
    refuse_biases,
    refuse_common,
    write_decoder_options,
)
from flytewheel.export.families.plan import Family, PlannedTensor, place_plainly
from flytewheel.export.families.rope import head_dim
from flytewheel.export.source import SourceTensor


def _write_options(writer: Any, config: Any) -> None:
    write_decoder_options(writer, config, window=find_window(config))


def _refuse_qwen2(config: Any) -> dict[str, bool]:
    wide = head_dim(config) * config.num_attention_heads != config.hidden_size
    return {"heads that are not hidden_size wide together": wide, **refuse_common(config)}


def _refuse_qwen3(config: Any) -> dict[str, bool]:
    return {**refuse_biases(config), **refuse_common(config)}


def _plan_qwen2(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return place_plainly("qwen2", config, tensors, list_shapes(config, biases=("q_proj", "k_proj", "v_proj")))


def _plan_qwen3(config: Any, tensors: Mapping[str, SourceTensor]) -> list[PlannedTensor]:
    return place_plainly("qwen3", config, tensors, list_shapes(config, head_norms=True))


QWEN2 = Family("qwen2", _refuse_qwen2, _write_options, _plan_qwen2)
QWEN3 = Family("qwen3", _refuse_qwen3, _write_options, _plan_qwen3)
