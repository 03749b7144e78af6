"""Loads base models and tokenizers for every station that needs one: `pocket`, a folder, or a hub id, by the same path.

torch and transformers are imported inside the functions only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytewheel.errors import BaseModelError
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import digest, file_digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POCKET = Path(__file__).parent / "pocket" / "weights"
# What decides how a model in a folder behaves; a README or a figure beside it may change.
_CONTENT = (
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
    "*.safetensors",
    "*.bin",
)


@dataclass(frozen=True, slots=True)
class Device:
    """The accelerator in use: `kind` is cuda, mps or cpu; `dtype` is the one that trains and evaluates there."""

    kind: str
    name: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.name}, {self.dtype})"


def find_device() -> Device:
    """Finds the device: cuda, then mps, then cpu.

    bf16 on CUDA that has it (fp16 otherwise), bf16 on MPS from macOS 14 (fp32 before; never fp16), fp32 on CPU, where
    bf16 autocast was measured 9 times slower.
    """
    import platform

    import torch

    if torch.cuda.is_available():
        dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        return Device("cuda", torch.cuda.get_device_name(0), dtype)
    if torch.backends.mps.is_available():
        major = int((platform.mac_ver()[0] or "0").split(".")[0])
        return Device("mps", platform.machine(), "bfloat16" if major >= 14 else "float32")
    threads = torch.get_num_threads()
    return Device("cpu", "1 thread" if threads == 1 else f"{threads} threads", "float32")


def locate_base(spec: BaseModelSpec) -> str:
    """Where the base model is read from: a folder's path, or the hub id itself."""
    if spec.model == "pocket":
        return str(POCKET)
    folder = Path(spec.model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else spec.model


def base_digest(spec: BaseModelSpec) -> str:
    """What the base model consists of, so that nothing learnt on other weights of the same name is mixed with these.

    Returns:
        For a folder the digest over its weights, configuration and tokenizer (each by name, size and SHA-256; about a
        second a gigabyte); for a hub id the commit that it resolves to.

    Raises:
        BaseModelError: no such model, or no access to the hub.
    """
    folder = Path(locate_base(spec))
    if folder.is_dir():
        files = sorted({path for pattern in _CONTENT for path in folder.glob(pattern)})
        return digest({path.name: {"size": path.stat().st_size, "sha256": file_digest(path)} for path in files})
    from transformers.utils.hub import cached_file, extract_commit_hash

    commit = extract_commit_hash(_load(spec, cached_file, filename="config.json"), None)
    return commit or f"{spec.model}@{spec.revision or 'main'}"


def load_tokenizer(spec: BaseModelSpec) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of the base model; it must bring a chat template. A missing pad token becomes the end token.

    Raises:
        BaseModelError: no such model, no access to the hub, or no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = _load(spec, AutoTokenizer.from_pretrained)
    if not tokenizer.chat_template:
        raise BaseModelError(f"base.model {spec.model!r} has no chat template: take an instruct model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(spec: BaseModelSpec, *, dtype: str | None = None, device: str = "cpu") -> PreTrainedModel:
    """Loads the base model's weights in `dtype` (default: the recipe's, else that of the found device) onto `device`.

    Raises:
        BaseModelError: no such model, or no access to the hub.
    """
    import torch
    from transformers import AutoModelForCausalLM

    name = dtype or (spec.dtype if spec.dtype != "auto" else find_device().dtype)
    attention = {} if spec.attention == "auto" else {"attn_implementation": spec.attention}
    model: Any = _load(spec, AutoModelForCausalLM.from_pretrained, dtype=getattr(torch, name), **attention)
    return model.to(device)


def load_adapted(
    spec: BaseModelSpec, adapter: Path | None, *, dtype: str | None = None, device: str = "cpu"
) -> PreTrainedModel:
    """Loads the base model with a LoRA adapter on top (none: the bare base), ready for inference."""
    model: Any = load_model(spec, dtype=dtype, device=device)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter))
    return model.eval()


def _load(spec: BaseModelSpec, loader: Any, **options: Any) -> Any:
    where = locate_base(spec)
    if not Path(where).is_dir() and where.startswith((".", "/", "~")):
        raise BaseModelError(f"base.model {spec.model!r}: no such folder")
    try:
        return loader(where, revision=spec.revision, **options)
    except (OSError, ValueError, KeyError) as error:
        cause = " ".join(str(error).split())[:200]
        offline = (
            " (HF_HUB_OFFLINE is set: only folders and cached models can be loaded)"
            if os.environ.get("HF_HUB_OFFLINE")
            else ""
        )
        raise BaseModelError(
            f"base.model {spec.model!r} cannot be loaded{offline}: name a folder, a hub id you may read, "
            f"or 'pocket' ({cause})"
        ) from None


def token_counter(spec: BaseModelSpec) -> Callable[[str], int]:
    """A function that counts the tokens of a text as the base model's tokenizer does, special tokens aside."""
    tokenizer: Any = load_tokenizer(spec)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
