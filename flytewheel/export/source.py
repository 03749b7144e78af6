"""The trained model as tensors by rows: base weights from safetensors, the adapter merged as they are read.

Nothing is loaded as a whole, and every sum is taken in fp32, whatever type the base is stored in.

Where input and output embedding are one matrix and only one of them was trained further, they are two from then on:
the adapter that learnt on one of them saw the other unchanged. (PEFT's `merge_and_unload` changes both.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flytewheel import weights
from flytewheel.errors import BaseModelError, ExportError
from flytewheel.export.adapter import Adapter, read_adapter
from flytewheel.export.stored import StoredTensor, TensorFile
from flytewheel.models import ADAPTER_FILES, check_full, open_base, trained_files, trained_kind
from flytewheel.recipe import BaseModelSpec

_INPUTS, _OUTPUT = ("model.embed_tokens.weight", "model.language_model.embed_tokens.weight"), "lm_head.weight"
_SEEING = ("model.vision_tower.", "model.multi_modal_projector.")
_OLD_NAMES = {  # of models that see, up to transformers 4; the first that fits
    "language_model.model.": "model.language_model.",
    "language_model.lm_head.": "lm_head.",
    "vision_tower.": "model.vision_tower.",
    "multi_modal_projector.": "model.multi_modal_projector.",
}
_BUFFER = ".rotary_emb.inv_freq"  # older checkpoints hold it, and transformers computes it


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """A tensor of the model: its shape, and the type that it is stored in (`BF16`, `F16`, `F32`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Source:
    """An open model: a folder of safetensors, and maybe an adapter on top. A context manager."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        """Opens the model in `folder`, and the LoRA adapter in the folder `adapter`.

        Raises:
            BaseModelError: a file that must not be loaded, or one that is missing.
            ExportError: a tensor is missing, or the adapter does not fit the model, or does what cannot be merged row
                by row.
        """
        self.folder = folder
        self.config: Any = _read_config(folder)
        self._open = ExitStack()
        try:
            self._stored = _open_shards(folder, self._open)
            self._adapter = Adapter({}, {}) if adapter is None else self._open_adapter(adapter)
            self.base_is_tied = self._is_tied()
            self._settle_tie()
        except BaseException:
            self._open.close()
            raise
        self._stored |= self._adapter.replaced
        self.tensors = {name: SourceTensor(name, found.shape, found.dtype) for name, found in self._stored.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def adapter(self) -> Adapter:
        """What was trained, apart from the base; empty for the bare base and for full weights."""
        return self._adapter

    def rows(self, name: str, start: int, stop: int) -> Any:
        """Rows `start` to `stop` of a tensor as the trained model has them: a fp32 array `(stop - start, …)`.

        The numbers of a row do not depend on the range that it is read in. Safe in many threads at once.

        Raises:
            ExportError: one of the numbers is not finite.
        """
        import torch

        part = self._stored[name].read(start, stop)
        delta = self._adapter.deltas.get(name)
        if delta is not None:
            part = delta.merge(part, start, stop)
        if part.numel() and not all(math.isfinite(end) for end in torch.aminmax(part)):
            raise ExportError(f"{name} holds a weight that is not finite; the model is broken, train it again")
        return part.numpy()

    def _open_adapter(self, folder: Path) -> Adapter:
        file = self._open.enter_context(TensorFile(folder / ADAPTER_FILES[1]))
        shapes = {name: found.shape for name, found in self._stored.items()}
        if self._is_tied() and self._input in shapes:
            shapes.setdefault(_OUTPUT, shapes[self._input])
        adapter = read_adapter(folder, file.tensors, shapes)
        for name in adapter.touched:
            if name.startswith(_SEEING):
                raise ExportError(f"{folder}: trained {name}, but only the language model is exported; train without")
        return adapter

    @property
    def _input(self) -> str:
        return next((name for name in _INPUTS if name in self._stored), _INPUTS[0])

    def _is_tied(self) -> bool:
        return bool(getattr(self.config, "tie_word_embeddings", False))

    def _settle_tie(self) -> None:
        """Unties what is not the same matrix any more; drops the second copy of what is."""
        if not self._is_tied() or self._input not in self._stored:
            if _OUTPUT not in self._stored and self._input in self._stored:
                raise ExportError(f"{self.folder}: {_OUTPUT} is missing, and config.json does not tie it; get it again")
            return
        both = {self._input, _OUTPUT} & self._adapter.touched
        if _OUTPUT in self._stored and not both and self._is_same(self._input, _OUTPUT):
            del self._stored[_OUTPUT]
        elif _OUTPUT in self._stored or both:
            self._stored.setdefault(_OUTPUT, self._stored[self._input])
            self.config.tie_word_embeddings = False

    def _is_same(self, one: str, other: str, rows: int = 4096) -> bool:
        import torch

        ours, theirs = self._stored[one], self._stored[other]
        return ours.shape == theirs.shape and all(
            torch.equal(ours.read(start, end), theirs.read(start, end))
            for start in range(0, ours.shape[0], rows)
            if (end := min(start + rows, ours.shape[0]))
        )


def open_source(base: BaseModelSpec, trained: Path | None) -> Source:
    """Opens what was trained: an adapter on the base, or full weights in its place; none: the bare base.

    Raises:
        BaseModelError: the base cannot be read.
        ExportError: what was trained is not whole, or does not fit the base.
    """
    if trained is None:
        return Source(open_base(base, with_weights=True))
    try:
        trained_files(trained)
        full = trained_kind(trained) == "full"
    except BaseModelError as error:
        raise ExportError(str(error)) from None
    if full:
        check_full(base, trained)
        return Source(trained)
    weights.check_adapter(trained)
    return Source(open_base(base, with_weights=True), trained)


def _read_config(folder: Path) -> Any:
    """The configuration of the language model, which may be a part of a larger one."""
    from transformers import AutoConfig

    whole = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    text: Any = whole.get_text_config()
    if text is not whole:
        for shared in ("architectures", "tie_word_embeddings", "quantization_config"):
            if getattr(whole, shared, None) is not None:
                setattr(text, shared, getattr(whole, shared))
    return text


def _rename(name: str) -> str:
    """The name that transformers 5 has for a tensor."""
    for old, new in _OLD_NAMES.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _open_shards(folder: Path, stack: ExitStack) -> dict[str, StoredTensor]:
    """The tensors of all files of a model; where two files hold one, the index decides."""
    placed = _read_index(folder)
    found: dict[str, StoredTensor] = {}
    for shard in weights.list_shards(folder):
        file = stack.enter_context(TensorFile(folder / shard))
        found |= {name: tensor for name, tensor in file.tensors.items() if placed.get(name, shard) == shard}
    missing = sorted(set(placed) - set(found))
    if missing:
        raise ExportError(
            f"{folder}: {missing[0]} is not in {placed[missing[0]]}, where the index has it; get the model again"
        )
    return {_rename(name): tensor for name, tensor in found.items() if not name.endswith(_BUFFER)}


def _read_index(folder: Path) -> Mapping[str, str]:
    import json

    path = folder / weights.INDEX
    if not path.is_file():
        return {}
    placed: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    return placed
