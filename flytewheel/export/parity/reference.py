"""The trained model in transformers, in fp32 on the CPU, and the same model with its matrices rounded as a file's are.

One model is in memory at a time. Of a pass over a text only the last hidden states are kept, `(tokens, width)`;
distributions are taken from them again where they are compared, a few positions at a time, because a vocabulary of
128,000 tokens makes gigabytes of logits out of a few thousand positions. So a pass outlives a change of the weights, as
long as the matrix that its logits come from is kept beside it (`Head`).

What was trained is merged by PEFT, not by `source`, which the file was written with: an error in the one is seen by the
other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import BaseModelError, ExportError
from flytewheel.export.parity.rounding import round_inputs
from flytewheel.models import load_adapted, trained_files, trained_kind
from flytewheel.recipe import BaseModelSpec

Pass = list[Any]  # hidden states `(tokens, width)` of each text


@dataclass(frozen=True, slots=True)
class Head:
    """What makes logits of hidden states. `kind` is the tensor type whose arithmetic it is computed in."""

    weight: Any
    bias: Any
    softcap: float | None
    kind: str = "F32"

    def logits(self, hidden: Any) -> Any:
        """Logits `(positions, vocabulary)` of hidden states `(positions, width)`."""
        import torch

        with torch.inference_mode():
            found = torch.nn.functional.linear(round_inputs(hidden, self.kind), self.weight, self.bias)
            return found if self.softcap is None else torch.tanh(found / self.softcap) * self.softcap


def load_trained(base: BaseModelSpec, trained: Path | None) -> Any:
    """Loads what was trained in fp32 on the CPU as one model.

    Args:
        base: The base model.
        trained: A LoRA adapter, which PEFT merges into the base, or full weights; none: the bare base.

    Raises:
        BaseModelError: the base cannot be loaded.
        ExportError: what was trained is not whole or does not fit the base.
    """
    if trained is not None:
        try:
            trained_files(trained)
        except BaseModelError as error:
            raise ExportError(str(error)) from None
    try:
        model: Any = load_adapted(base, trained, dtype="float32", device="cpu")
        if trained is not None and trained_kind(trained) == "adapter":
            model = model.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, OSError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ExportError(f"{trained}: the adapter does not fit base.model {base.model!r} ({cause})") from error
    return model.eval()


def read_head(model: Any, *, keep: bool = False, kind: str = "F32") -> Head:
    """The model's output matrix; with `keep` a copy that stays as it is when the model's weights change."""
    layer = model.get_output_embeddings()
    weight = layer.weight.detach()
    return Head(
        weight.clone() if keep else weight, layer.bias, getattr(model.config, "final_logit_softcapping", None), kind
    )


def read_texts(model: Any, texts: Sequence[Sequence[int]]) -> Pass:
    """Reads each text of token ids in one pass and keeps its last hidden states."""
    import torch

    decoder = model.get_decoder()
    with torch.inference_mode():
        return [decoder(input_ids=torch.tensor([list(ids)]), use_cache=False).last_hidden_state[0] for ids in texts]


@contextmanager
def computing_as(model: Any, kinds: Mapping[str, str]) -> Iterator[None]:
    """Lets every matrix of the model be multiplied as llama.cpp would multiply one of its type.

    Args:
        model: In transformers.
        kinds: Tensor type by the name of the weight.
    """
    import torch

    handles = []
    for name, module in model.named_modules():
        kind = kinds.get(f"{name}.weight")
        if kind is not None and isinstance(module, torch.nn.Linear):
            handles.append(module.register_forward_pre_hook(lambda _, given, kind=kind: (round_inputs(given[0], kind),)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
