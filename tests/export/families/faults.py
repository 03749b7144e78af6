"""What goes wrong when a converter is written: one fault in a file's plan or its keys, planted into a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flytewheel.export.families.llama import interleave
from flytewheel.export.families.plan import Family, PlannedTensor

Tensors = list[PlannedTensor]
Keys = dict[str, Any]


def plant(family: Family, fault: str, config: Any) -> Family:
    """The family with a fault of `FAULTS`.

    Raises:
        AssertionError: the fault changes nothing of this model's file.
    """
    change_tensors, change_keys = FAULTS[fault]

    def plan(given: Any, tensors: Mapping[str, Any]) -> Tensors:
        planned = list(family.plan(given, tensors))
        changed = change_tensors(planned, config)
        assert change_tensors is _same or [repr(tensor) for tensor in changed] != [repr(tensor) for tensor in planned]
        return changed

    def write_options(writer: Any, given: Any) -> None:
        family.write_options(writer, given)
        keys = writer.kv_data[0]
        before = {key: value.value for key, value in keys.items()}
        change_keys(keys, family.architecture)
        assert change_keys is _leave or before != {key: value.value for key, value in keys.items()}

    return replace(family, plan=plan, write_options=write_options)


def _same(planned: Tensors, config: Any) -> Tensors:
    return planned


def _leave(keys: Keys, architecture: str) -> None: ...


def _set(suffix: str, change: Callable[[Any], Any]) -> Callable[[Keys, str], None]:
    def apply(keys: Keys, architecture: str) -> None:
        key = f"{architecture}.{suffix}"
        keys[key] = replace(keys[key], value=change(keys[key].value))

    return apply


def _drop(suffix: str) -> Callable[[Keys, str], None]:
    return lambda keys, architecture: keys.pop(f"{architecture}.{suffix}") and None


def _each(part: str, change: Callable[[PlannedTensor, Any], PlannedTensor]) -> Callable[[Tensors, Any], Tensors]:
    return lambda planned, config: [change(tensor, config) if part in tensor.name else tensor for tensor in planned]


def _swap(one: str, other: str) -> Callable[[Tensors, Any], Tensors]:
    names = {one: other, other: one}
    return lambda planned, _: [replace(tensor, name=names.get(tensor.name, tensor.name)) for tensor in planned]


def _reorder(tensor: PlannedTensor, config: Any) -> PlannedTensor:
    heads = config.num_attention_heads if "attn_q" in tensor.name else config.num_key_value_heads
    return replace(tensor, order=interleave(tensor.shape[0], heads))


def _keep_order(tensor: PlannedTensor, config: Any) -> PlannedTensor:
    return replace(tensor, order=None)


def _unshift(tensor: PlannedTensor, config: Any) -> PlannedTensor:
    return replace(tensor, shift=0.0)


def _shift(tensor: PlannedTensor, config: Any) -> PlannedTensor:
    return replace(tensor, shift=1.0)


FAULTS: dict[str, tuple[Callable[[Tensors, Any], Tensors], Callable[[Keys, str], None]]] = {
    "q and k not reordered": (_each("attn_", _keep_order), _leave),
    "k not reordered": (_each("attn_k.weight", _keep_order), _leave),
    "bias of q not reordered": (_each("attn_q.bias", _keep_order), _leave),
    "q and k reordered": (
        lambda planned, config: _each("attn_k.", _reorder)(_each("attn_q.", _reorder)(planned, config), config),
        _leave,
    ),
    "norms not shifted": (_each("norm.weight", _unshift), _leave),
    "norms of q not shifted": (_each("attn_q_norm", _unshift), _leave),
    "last norm not shifted": (_each("output_norm", _unshift), _leave),
    "norms shifted": (_each("norm.weight", _shift), _leave),
    "gate and up swapped": (_swap("blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"), _leave),
    "norms swapped": (_swap("blk.1.attn_norm.weight", "blk.1.ffn_norm.weight"), _leave),
    "norms after swapped": (_swap("blk.1.post_attention_norm.weight", "blk.1.post_ffw_norm.weight"), _leave),
    "layers swapped": (_swap("blk.0.attn_v.weight", "blk.1.attn_v.weight"), _leave),
    "divisors left out": (lambda planned, _: [one for one in planned if one.name != "rope_freqs.weight"], _leave),
    "theta wrong": (_same, _set("rope.freq_base", lambda value: value * 2)),
    "theta of windows wrong": (_same, _set("rope.freq_base_swa", lambda _: 10_000.0)),
    "scaling left out": (_same, _drop("rope.scaling.type")),
    "factor left out": (_same, _drop("rope.scaling.factor")),
    "factor wrong": (_same, _set("rope.scaling.factor", lambda value: value / 2)),
    "factor of attention left out": (_same, _drop("rope.scaling.attn_factor")),
    "original context wrong": (_same, _set("rope.scaling.original_context_length", lambda value: value * 4)),
    "cap of attention wrong": (_same, _set("attn_logit_softcapping", lambda _: 50.0)),
    "cap of logits wrong": (_same, _set("final_logit_softcapping", lambda _: 30.0)),
    "cap of logits left out": (_same, _drop("final_logit_softcapping")),
    "window too short": (_same, _set("attention.sliding_window", lambda value: value - 1)),
    "window too long": (_same, _set("attention.sliding_window", lambda value: value + 1)),
    "window left out": (_same, _drop("attention.sliding_window")),
    "pattern left out": (_same, _drop("attention.sliding_window_pattern")),
    "epsilon wrong": (_same, _set("attention.layer_norm_rms_epsilon", lambda _: 1e-2)),
}
