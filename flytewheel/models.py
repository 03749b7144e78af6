"""Loads base models and tokenizers for every station that needs one: `pocket`, a folder, or a hub id, by the same path;
and what training made of them, a LoRA adapter or full weights.

A hub model is fetched at one commit into the hub's cache, and loaded from there as a folder. Every folder is looked at
(`weights`) before it is loaded, so what was looked at is what is loaded, and code that came with a model is never run.
torch and transformers are imported inside the functions only.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flytewheel import weights
from flytewheel.errors import BaseModelError
from flytewheel.profiles import Device as Device
from flytewheel.profiles import find_device as find_device
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
)
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# What tells that full weights are of the base that a recipe names; a newer transformers writes other keys differently.
_SHAPE = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers")
# What a tokenizer and a configuration may consist of; weights are fetched by name.
_TEXTS = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")


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
    return _fetch(spec).name


def warn_unpinned(spec: BaseModelSpec) -> str | None:
    """One line about a hub model whose revision may move: the commit that is used now, and how to stay with it.

    Raises:
        BaseModelError: no such model, or no access to the hub.
    """
    if Path(locate_base(spec)).is_dir() or is_commit(spec.revision or ""):
        return None
    commit = base_digest(spec)
    moves = f"revision {spec.revision!r} may move" if spec.revision else "no revision is given"
    return f"warning: base.model {spec.model!r}: {moves}; commit {commit} is used, pin it with base.revision: {commit}"


def is_commit(text: str) -> bool:
    """Whether `text` is a whole commit hash of the hub, 40 digits; a folder's digest has 64."""
    return bool(re.fullmatch(r"[0-9a-f]{40}", text))


def open_base(spec: BaseModelSpec, *, with_weights: bool) -> Path:
    """The folder to load the base from, after a look at every file that loading could read (`weights.check_base`).

    Raises:
        BaseModelError: no such model, no access to the hub, or a file that must not be loaded.
    """
    where = Path(locate_base(spec))
    folder = where if where.is_dir() else _fetch(spec, with_weights=with_weights)
    weights.check_base(folder, weights=with_weights)
    return folder


def load_tokenizer(spec: BaseModelSpec) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of the base model; it must bring a chat template. A missing pad token becomes the end token.

    Raises:
        BaseModelError: no such model, no access to the hub, a file that must not be loaded, or no chat template.
    """
    folder = open_base(spec, with_weights=False)
    from transformers import AutoTokenizer

    tokenizer: Any = _load(spec, lambda: AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False))
    if not tokenizer.chat_template:
        raise BaseModelError(f"base.model {spec.model!r} has no chat template: take an instruct model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    spec: BaseModelSpec, *, dtype: str | None = None, device: str = "cpu", scalar_head: bool = False
) -> PreTrainedModel:
    """Loads the base model's weights in `dtype` (default: the recipe's, else that of the found device) onto `device`.

    With a `scalar_head` of zeros in the place of the vocabulary's, for a reward model.

    Raises:
        BaseModelError: no such model, no access to the hub, or a file that must not be loaded.
    """
    import torch

    attention = {} if spec.attention == "auto" else {"attn_implementation": spec.attention}
    name = _name_dtype(spec, dtype)
    return load_weights(spec, scalar_head=scalar_head, dtype=getattr(torch, name), **attention).to(device)


def load_weights(spec: BaseModelSpec, *, scalar_head: bool = False, **options: Any) -> Any:
    """Loads the base model with `options` of transformers' `from_pretrained`: from safetensors, and without its code.

    Raises:
        BaseModelError: no such model, no access to the hub, or a file that must not be loaded.
    """
    folder = open_base(spec, with_weights=True)
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind: Any = AutoModelForCausalLM
    if scalar_head:
        kind, options = AutoModelForSequenceClassification, {**options, "num_labels": 1}
    model = _load(
        spec, lambda: kind.from_pretrained(str(folder), trust_remote_code=False, use_safetensors=True, **options)
    )
    if scalar_head:  # drawn at random otherwise: from zero, every answer begins with the same reward
        model.score.weight.data.zero_()
    return model


def trained_kind(folder: Path) -> Literal["adapter", "full"]:
    """What training left in `folder`: a LoRA adapter, or full weights, which stand for the base as well.

    Raises:
        BaseModelError: neither.
    """
    if (folder / ADAPTER_FILES[0]).is_file():
        return "adapter"
    if (folder / "config.json").is_file():
        return "full"
    raise BaseModelError(
        f"{folder}: expected an adapter ({' and '.join(ADAPTER_FILES)}) or full weights (config.json and "
        "model.safetensors), found neither; name the folder that training wrote, or train it again"
    )


def trained_files(folder: Path) -> list[str]:
    """Names of the files that make what was trained, in order: all that is digested, exported and registered of it.

    For full weights these are configuration and weights, in shards or not. The tokenizer is the base's, as it is for an
    adapter: training adds no word to it.

    Raises:
        BaseModelError: one of them is missing, or it is neither an adapter nor full weights.
    """
    if trained_kind(folder) == "adapter":
        names = [*ADAPTER_FILES]
    else:
        optional = [name for name in ("generation_config.json", weights.INDEX) if (folder / name).is_file()]
        names = ["config.json", *optional, *weights.list_shards(folder)]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BaseModelError(f"{folder}: {missing[0]} is missing; train it again")
    return names


def digest_trained(folder: Path) -> str:
    """Digest of what was trained: over the files that make it, by name.

    Raises:
        BaseModelError: see `trained_files`.
    """
    return digest({name: file_digest(folder / name) for name in trained_files(folder)})


def load_adapted(
    spec: BaseModelSpec, trained: Path | None, *, dtype: str | None = None, device: str = "cpu"
) -> PreTrainedModel:
    """Loads what was trained, ready for inference: the base with a LoRA adapter on top, or full weights in its place
    (none: the bare base).

    Raises:
        BaseModelError: base or folder cannot be loaded, or they do not belong together.
    """
    if trained is not None and trained_kind(trained) == "full":
        return load_full(spec, trained, dtype=dtype, device=device).eval()
    model: Any = load_model(spec, dtype=dtype, device=device)
    return (model if trained is None else attach_adapter(model, trained)).eval()


def check_full(spec: BaseModelSpec, folder: Path) -> None:
    """Looks at full weights before they are loaded: their files, and whether their shape is the base's.

    Raises:
        BaseModelError: a file that must not be loaded, or a model of another shape.
    """
    base = open_base(spec, with_weights=False)
    weights.check_base(folder)
    ours, theirs = (json.loads((each / "config.json").read_text(encoding="utf-8")) for each in (folder, base))
    for key in _SHAPE:
        if key in ours and key in theirs and ours[key] != theirs[key]:
            raise BaseModelError(
                f"{folder}: does not fit base.model {spec.model!r} ({key} is {ours[key]!r}, the base has "
                f"{theirs[key]!r}); train it again"
            )


def load_full(spec: BaseModelSpec, folder: Path, *, dtype: str | None = None, device: str = "cpu") -> PreTrainedModel:
    """Loads full weights that were trained from the base model; the base's own weights are not read.

    Args:
        spec: The base model: its tokenizer goes with the weights, so their shape must be its.
        folder: `config.json` and safetensors.
        dtype: As for `load_model`.
        device: As for `load_model`.

    Raises:
        BaseModelError: a file that must not be loaded, a tensor that is missing, or a model of another shape than the
            base.
    """
    check_full(spec, folder)
    import torch
    from transformers import AutoModelForCausalLM

    attention = {} if spec.attention == "auto" else {"attn_implementation": spec.attention}
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            str(folder), trust_remote_code=False, use_safetensors=True, output_loading_info=True,
            dtype=getattr(torch, _name_dtype(spec, dtype)), **attention,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise BaseModelError(f"{folder}: cannot be loaded ({cause}); train it again") from None
    if found["missing_keys"]:  # transformers would draw them at random
        raise BaseModelError(f"{folder}: {min(found['missing_keys'])} is missing from the weights; train it again")
    loaded: Any = model
    return loaded.to(device)


def attach_adapter(model: Any, adapter: Path, *, name: str = "default", trainable: bool = False) -> Any:
    """Puts a LoRA adapter on a base model, or on a model that has adapters already, after a look at its files.

    Returns:
        The PEFT model.

    Raises:
        BaseModelError: a file that must not be loaded, no LoRA adapter, or one of another commit of a hub model.
        RuntimeError, ValueError: PEFT finds that it does not fit the model.
    """
    trained_on, loaded = weights.check_adapter(adapter).get("revision"), Path(model.config.name_or_path).name
    if is_commit(str(trained_on)) and is_commit(loaded) and trained_on != loaded:
        raise BaseModelError(
            f"{adapter}: was trained on commit {trained_on}, base.model is {loaded} now; "
            f"pin base.revision: {trained_on}"
        )
    from peft import PeftModel

    if isinstance(model, PeftModel):
        model.load_adapter(str(adapter), adapter_name=name, is_trainable=trainable, use_safetensors=True)
        return model
    return PeftModel.from_pretrained(
        model, str(adapter), adapter_name=name, is_trainable=trainable, use_safetensors=True
    )


def _name_dtype(spec: BaseModelSpec, asked: str | None) -> str:
    return asked or (spec.dtype if spec.dtype != "auto" else find_device().dtype)


def _fetch(spec: BaseModelSpec, *, with_weights: bool = False) -> Path:
    """Fetches a hub model into the hub's cache; the folder's name is the commit."""
    from huggingface_hub import snapshot_download

    def fetch(revision: str | None, names: Sequence[str]) -> Path:
        return Path(
            snapshot_download(spec.model, revision=revision, allow_patterns=list(names), ignore_patterns=["*/*"])
        )

    folder: Path = _load(spec, lambda: fetch(spec.revision, _TEXTS))
    if with_weights:
        shards = weights.list_shards(folder)
        _load(spec, lambda: fetch(folder.name, shards))
    return folder


def _load(spec: BaseModelSpec, load: Callable[[], Any]) -> Any:
    where = locate_base(spec)
    if not Path(where).is_dir() and where.startswith((".", "/", "~")):
        raise BaseModelError(f"base.model {spec.model!r}: no such folder")
    try:
        return load()
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
