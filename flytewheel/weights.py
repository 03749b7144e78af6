"""Looks at the folder of a base model or an adapter before anything in it is loaded: what is each file, really?

Decides by content, never by name. A pickle runs its author's code while it is read, whatever the file is called
(https://docs.python.org/3/library/pickle.html), so weights are safetensors or nothing. Headers are judged by the
parser that will load them (safetensors' own: length, JSON, dtypes, offsets that fill the file and do not overlap); for
GGUF, whose parser is native code, by a stricter one of our own (`gguf_header`).
Pickles without a header are walked opcode by opcode, as one that breaks off after its call has run it all the same.

Departs from transformers and PEFT, which read `pytorch_model.bin` and `adapter_model.bin` where there is nothing else,
follow an `adapter_config.json` in a base's folder to another model, and, for a model with an `auto_map`, quietly take a
class of their own in its place. An `auto_map` is let through only where it names a class that transformers has by that
name (Phi-3, DeepSeek-V3): then transformers' own is loaded. Python files are never run. What a trainer leaves behind
(`training_args.bin`, `optimizer.pt`) and folders inside the folder are not read by loading and not looked at.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from flytewheel.errors import BaseModelError
from flytewheel.gguf_header import check_header

INDEX = "model.safetensors.index.json"
_LOOKED_AT = 1 << 20  # bytes; a call comes early in a pickle, and honest text stops being one at its first byte
_LEFT_BY_TRAINERS = re.compile(r"training_args\.bin|(optimizer|scheduler|scaler)\.(pt|bin)|rng_state.*\.pth")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
_COULD_BE_READ = (*_PICKLED, ".json", ".jinja", ".txt", ".tiktoken", ".model", ".gguf", ".npy", ".npz")
_NEVER_RIGHT = ("an archive", "compressed", "a NumPy", "an HDF5")
_TORCH_LEGACY = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # the long integer that torch.save pickles first
_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_IMPORTS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
_NO_ARGUMENTS = (
    pickletools.pynone,
    pickletools.pybool,
    pickletools.pyint,
    pickletools.pyinteger_or_bool,
    pickletools.pyfloat,
    pickletools.markobject,
)
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"]\x00\x00", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
)
_AUTO_CLASSES = ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")
_NEVER_RUN = "code of a model is never run here: take a model that transformers has a class for"


def check_base(folder: Path, *, weights: bool = True) -> None:
    """Looks at every file of a base model's folder that loading could read.

    Args:
        folder: `config.json`, weights and tokenizer.
        weights: whether weights must be there; without, only what is there is looked at.

    Raises:
        BaseModelError: a pickle, a file that is not what its name says, an adapter in place of a model, weights that
            are missing or not safetensors, or a configuration that wants code of its own.
    """
    _check_files(folder)
    if (folder / "adapter_config.json").is_file():
        raise BaseModelError(f"{folder}: holds an adapter (adapter_config.json), base.model wants the model under it")
    shards = list_shards(folder)
    missing = [name for name in shards if not (folder / name).is_file()]
    if weights and missing:
        raise BaseModelError(
            f"{folder}: expected weights as safetensors, {missing[0]} is missing; "
            f"bring the file, or convert other weights: {_convert('pytorch_model.bin', 'model.safetensors')}"
        )
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            _check_code(folder / name)


def check_adapter(folder: Path) -> dict[str, Any]:
    """Looks at every file of a LoRA adapter's folder that loading could read.

    Returns:
        Its `adapter_config.json`.

    Raises:
        BaseModelError: a pickle, a file that is not what its name says, no safetensors, or no LoRA adapter.
    """
    _check_files(folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise BaseModelError(f"{folder}: expected a LoRA adapter, {name} is missing; train it again")
    config = _read_object(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":  # others name further adapters to load
        kind = config.get("peft_type")
        raise BaseModelError(f"{folder / 'adapter_config.json'}: expected peft_type 'LORA', got {kind!r}")
    return config


def check_file(
    path: Path, next_step: str = "get it from its source again", *, called: PurePosixPath | None = None
) -> None:
    """Looks at one file: it must be what its name says, and no pickle.

    Args:
        path: Where it lies.
        next_step: What a person should do about a wrong one.
        called: The name that it has or will have, where `path` is a temporary one.

    Raises:
        BaseModelError: which file, what it is, and `next_step`.
    """
    name = called or path
    if name.suffix == ".safetensors":
        _check_safetensors(path, next_step, name)
        return
    found = identify(path)
    if name.suffix == ".gguf" and found == "GGUF":
        check_header(path, next_step, name)
        return
    wrong = found.startswith("a pickle") or (name.suffix in _COULD_BE_READ and found.startswith(_NEVER_RIGHT))
    if name.suffix in (".json", ".gguf"):
        wrong |= found != {".json": "JSON", ".gguf": "GGUF"}[name.suffix]
    if wrong:
        raise BaseModelError(f"{name}: is {found}; nothing of it was loaded, {next_step}")


def list_shards(folder: Path) -> list[str]:
    """Names of the files that hold the weights of the model in `folder`: those of its index, else `model.safetensors`.

    Raises:
        BaseModelError: the index is broken, or names a file outside `folder` or something other than safetensors.
    """
    path = folder / INDEX
    if not path.is_file():
        return ["model.safetensors"]
    named = _read_object(path).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise BaseModelError(f"{path}: expected a weight_map from tensors to files; get it from its source again")
    shards = sorted(set(named.values()))
    for name in shards:
        if PurePosixPath(name).name != name or not name.endswith(".safetensors"):
            raise BaseModelError(f"{path}: weight_map names {name!r}, expected a safetensors file in the same folder")
    return shards


def identify(path: Path) -> str:
    """What the content of a file is, in words: `JSON`, `GGUF`, `text or data`, or something that begins with
    `a pickle`, `an archive`, `compressed` or `a NumPy`.
    """
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    if head.startswith(b"PK"):
        return _identify_zip(path)
    if head[:1] == b"\x80" and head[1:2] <= bytes([pickle.HIGHEST_PROTOCOL]):
        return "a pickle (PyTorch's old format)" if _TORCH_LEGACY in head[:64] else f"a pickle (protocol {head[1]})"
    if head.startswith(b"\x93NUMPY"):
        has_objects = re.search(rb"'descr':[^}]*O", head[:1024])
        return "a pickle (a NumPy array of Python objects)" if has_objects else "a NumPy array"
    for magic, name in _PACKED:
        if head.startswith(magic):
            return f"compressed ({name}), as joblib writes pickles"
    if head[:1] == b"x" and _inflates(head):
        return "compressed (zlib), as joblib writes pickles"
    if head[257:262] == b"ustar":
        return "an archive (tar)"
    if head.startswith(b"GGUF"):
        return "GGUF"
    if head.lstrip()[:1] in (b"{", b"["):  # no opcode of a pickle begins so
        return "JSON"
    if _calls(head):
        return "a pickle (no protocol header)"
    return "an HDF5 file" if head.startswith(b"\x89HDF") else "text or data"


def _identify_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "an archive (zip)"
    return f"a pickle (PyTorch's zip of {pickles[0][:80]!r})" if pickles else "an archive (zip)"


def _inflates(head: bytes) -> bool:
    try:
        return bool(zlib.decompressobj().decompress(head, 16))
    except zlib.error:
        return False


def _calls(head: bytes) -> bool:
    """Whether `head`, read as a pickle, comes to a call of something imported before it stops making sense."""
    stack: list[Any] = []
    imported = False
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(head)):
            needed = list(opcode.stack_before)
            if pickletools.markobject in needed:
                mark = len(stack) - 1 - stack[::-1].index(pickletools.markobject)
                below = needed.index(pickletools.markobject)
                if mark < below:
                    return False
                del stack[mark - below :]
            else:
                if len(stack) < len(needed) or (opcode.name in _CALLS and stack[-1] in _NO_ARGUMENTS):
                    return False
                del stack[len(stack) - len(needed) :]
            imported |= opcode.name in _IMPORTS
            if imported and opcode.name in _CALLS:
                return True
            stack += opcode.stack_after
    except (ValueError, UnicodeError, OverflowError):
        return False
    return False


def _check_files(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.suffix == ".py" or _LEFT_BY_TRAINERS.fullmatch(path.name):
            continue
        if path.suffix == ".safetensors":
            source = f"{path.stem}.bin"
            check_file(
                path,
                f"call it {source} and convert it where you trust where it came from: {_convert(source, path.name)}",
            )
        elif path.suffix in _PICKLED:
            target = f"{path.stem.removeprefix('pytorch_')}.safetensors"
            if (folder / target).is_file():
                check_file(path, f"remove it: {target} lies beside it")
            else:
                check_file(path, f"convert it where you trust where it came from: {_convert(path.name, target)}")
        else:
            check_file(path)


def _convert(source: str, target: str) -> str:
    return (
        'python -c "import sys, torch, safetensors.torch as s; t = torch.load(sys.argv[1], weights_only=True); '
        "s.save_file({k: v.clone().contiguous() for k, v in t.items()}, sys.argv[2], {'format': 'pt'})\" "
        f"{source} {target}"
    )


def _check_safetensors(path: Path, next_step: str, name: PurePath) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy"):
            return
    except (SafetensorError, OSError) as error:
        found = identify(path)
        cause = " ".join(str(error).split())[:120]
    if found in ("JSON", "text or data"):
        raise BaseModelError(f"{name}: is not safetensors ({cause}); bring the file again, it is broken or cut short")
    raise BaseModelError(f"{name}: is {found}, not safetensors; nothing of it was loaded, {next_step}")


def _check_code(path: Path) -> None:
    config = _read_object(path)
    import transformers

    known = _list_known()
    kind, version = config.get("model_type"), transformers.__version__
    if path.name == "config.json":
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if kind not in CONFIG_MAPPING_NAMES:
            raise BaseModelError(f"{path}: model_type {kind!r} is unknown to transformers {version}; {_NEVER_RUN}")
    for name in _list_classes(config):
        if name.rpartition(".")[2] not in known:
            raise BaseModelError(f"{path}: wants {name!r}, which transformers {version} does not have; {_NEVER_RUN}")
    for kernel in _list_kernels(config):
        raise BaseModelError(f"{path}: wants the kernel {kernel!r}; {_NEVER_RUN}, and leave the kernel out")


@cache
def _list_known() -> frozenset[str]:
    """Names of transformers; listing them takes 0.1 s, and one run looks at the same folder many times."""
    import transformers

    return frozenset(dir(transformers))


def _list_classes(config: dict[str, Any]) -> Iterator[str]:
    """The classes that loading would look for: those of `auto_map` that it could take, and the architectures."""
    named = config.get("auto_map") or {}
    if not isinstance(named, dict):
        named = {"AutoTokenizer": named}  # the older form in tokenizer_config.json
    for value in [named.get(name) for name in _AUTO_CLASSES] + [config.get("architectures")]:
        for name in value if isinstance(value, list) else [value]:
            if name is not None:
                yield str(name)


def _list_kernels(config: Any) -> Iterator[str]:
    """Attention and expert implementations that name a repository: transformers would fetch code from there."""
    if isinstance(config, list):
        config = dict(enumerate(config))
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if str(key).strip("_").startswith(("attn_implementation", "experts_implementation")):
            named = value.values() if isinstance(value, dict) else [value]
            yield from (name for name in named if isinstance(name, str) and "/" in name)
        else:
            yield from _list_kernels(value)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        cause = " ".join(str(error).split())[:120]
        raise BaseModelError(f"{path}: expected JSON ({cause}); get it again") from None
    if not isinstance(found, dict):
        raise BaseModelError(
            f"{path}: expected a JSON object, got {type(found).__name__}; get it from its source again"
        )
    return found
