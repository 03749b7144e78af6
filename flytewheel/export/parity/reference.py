"""The trained model in transformers, in fp32 on the CPU, and the same model with its matrices rounded as a file's are.

One model is in memory at a time. Of a pass over a text only the last hidden states are kept, `(tokens, width)`;
distributions are taken from them again where they are compared, a few positions at a time, because a vocabulary of
128,000 tokens makes gigabytes of logits out of a few thousand positions. So a pass outlives a change of the weights, as
long as the matrix that its logits come from is kept beside it (`Head`).

What was trained is merged by PEFT, not by `source`, which the file was written with: an error in the one is seen by the
other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, ExportError
from flytewheel.export.adapter import Delta
from flytewheel.export.parity.rounding import round_inputs
from flytewheel.models import attach_adapter, load_adapted, load_model, trained_files, trained_kind
from flytewheel.recipe import BaseModelSpec

Pass = list[Any]  # hidden states `(tokens, width)` of each text


@dataclass(frozen=True, slots=True)
class Head:
    """What makes logits of hidden states. `kind` is the tensor type whose arithmetic it is computed in, `delta` what an
    adapter adds.
    """

    weight: Any
    bias: Any
    softcap: float | None
    kind: str = "F32"
    delta: Delta | None = None

    def logits(self, hidden: Any) -> Any:
        """Logits `(positions, vocabulary)` of hidden states `(positions, width)`."""
        import torch

        with torch.inference_mode():
            found = torch.nn.functional.linear(round_inputs(hidden, self.kind), self.weight, self.bias)
            if self.delta is not None:
                found = found + _apply(self.delta, hidden)
            return found if self.softcap is None else torch.tanh(found / self.softcap) * self.softcap


def plain_name(name: str) -> str:
    """A tensor's name without what a checkpoint of several parts puts before its language model."""
    return re.sub(r"(?:(?<=\.)|^)(?:model|language_model)\.", "", name)


def load_trained(base: BaseModelSpec, trained: Path | None, *, untie: bool = False) -> Any:
    """Loads what was trained in fp32 on the CPU as one model.

    Args:
        base: The base model.
        trained: A LoRA adapter, which PEFT merges into the base, or full weights; none: the bare base.
        untie: The adapter changes one of two embeddings that the base ties: merged, they are two.

    Raises:
        BaseModelError: the base cannot be loaded.
        ExportError: what was trained is not whole or does not fit the base.
    """
    import torch

    if trained is not None:
        try:
            trained_files(trained)
        except BaseModelError as error:
            raise ExportError(str(error)) from None
    try:
        if trained is None or trained_kind(trained) == "full":
            return load_adapted(base, trained, dtype="float32", device="cpu").eval()
        model: Any = load_model(base, dtype="float32", device="cpu")
        if untie:
            head = model.get_output_embeddings()
            head.weight = torch.nn.Parameter(head.weight.detach().clone())
            model.config.tie_word_embeddings = False
        return attach_adapter(model, trained).merge_and_unload(safe_merge=True).eval()
    except (ValueError, RuntimeError, OSError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ExportError(f"{trained}: the adapter does not fit base.model {base.model!r} ({cause})") from error


def read_head(model: Any, *, keep: bool = False, kind: str = "F32", delta: Delta | None = None) -> Head:
    """The model's output matrix; with `keep` a copy that stays as it is when the model's weights change."""
    layer = model.get_output_embeddings()
    weight = layer.weight.detach()
    softcap = getattr(model.config, "final_logit_softcapping", None)
    return Head(weight.clone() if keep else weight, layer.bias, softcap, kind, delta)


def read_texts(model: Any, texts: Sequence[Sequence[int]]) -> Pass:
    """Reads each text of token ids in one pass and keeps its last hidden states."""
    import torch

    decoder = model.get_decoder()
    with torch.inference_mode():
        return [decoder(input_ids=torch.tensor([list(ids)]), use_cache=False).last_hidden_state[0] for ids in texts]


@contextmanager
def computing_as(model: Any, kinds: Mapping[str, str], deltas: Mapping[str, Delta] | None = None) -> Iterator[None]:
    """Lets every matrix of the model be multiplied as llama.cpp would multiply one of its type.

    Args:
        model: In transformers.
        kinds: Tensor type by the plain name of the weight.
        deltas: What an adapter on top adds to the output of some, by the plain name of the weight; it is computed of
            inputs that are not rounded for the matrix beside it.
    """
    import torch

    handles = []
    for name, module in model.named_modules():
        key = plain_name(f"{name}.weight")
        kind, delta = kinds.get(key, "F32"), (deltas or {}).get(key)
        if delta is not None:
            handles.append(module.register_forward_hook(_Adapted(kind, delta)))
        elif kind != "F32" and isinstance(module, torch.nn.Linear):
            handles.append(
                module.register_forward_pre_hook(lambda _, given, kind=kind: (round_inputs(given[0], kind),))
            )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, slots=True)
class _Adapted:
    """A hook that computes the output of a layer anew, of rounded inputs, and adds what the adapter adds."""

    kind: str
    delta: Delta

    def __call__(self, module: Any, given: tuple[Any, ...], output: Any) -> Any:
        import torch

        if isinstance(module, torch.nn.Embedding):
            rows = torch.nn.functional.embedding(given[0], self.delta.right)
            return output + rows @ (self.delta.left * self.delta.scale)
        plain = torch.nn.functional.linear(round_inputs(given[0], self.kind), module.weight, module.bias)
        return plain + _apply(self.delta, given[0])


def _apply(delta: Delta, inputs: Any) -> Any:
    """What an adapter adds, in the arithmetic of a file in f16."""
    inner = round_inputs(inputs, "F16") @ delta.left.T
    return (round_inputs(inner, "F16") @ delta.right.T) * delta.scale
