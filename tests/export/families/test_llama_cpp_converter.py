"""Every family's file against llama.cpp's own converter's: tensors byte for byte, and keys.

It lies in llama-cpp-python's source archive (`vendor/llama.cpp`, with `gguf-py` beside it); the folder is named by
`LLAMA_CPP_SOURCE`, and without it these tests are skipped.

Where the two differ, and why:
- *Vocabulary*: its own tests; `tokenizer.*` is left out here.
- *general.name* and what is guessed from folder names or counted (`general.size_label`, `basename`, `finetune`…): ours
  is the name that was asked for. *general.sampling.** (from generation_config.json): a request brings its own.
- *vocab_size*, *rope.dimension_count*, *attention.key_length* and *value_length*: ours are in every file; theirs in
  some. They say what llama.cpp takes for granted where they are missing.
- *gemma2 rope.freq_base*: as before; theirs writes no theta and no scaling for Gemma 2, which is right only for the
  usual ones.
- *attention.sliding_window_pattern*: ours, where layers do not alternate as usual; theirs is wrong then.
- *yarn attention_factor*: theirs is written under a key that is not read; see `rope`.
- *context_length* with a sliding window that llama.cpp does not know: ours is the window.
- Embedding rows without a token in Gemma 3: theirs cuts them off, ours names them (as both do for other families).
- Gemma's norms stored in f16: theirs adds 1 in f16, ours in fp32, as transformers does when it computes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader

from flytewheel.export.convert import write_kinds
from flytewheel.export.source import Source
from tests.export.families import converter_child
from tests.export.families.tiny_families import CASES, read_tokenizer

LLAMA_CPP = os.environ.get("LLAMA_CPP_SOURCE")
pytestmark = pytest.mark.skipif(
    not LLAMA_CPP or not (Path(LLAMA_CPP) / "convert_hf_to_gguf.py").is_file(),
    reason="LLAMA_CPP_SOURCE names no folder with convert_hf_to_gguf.py: "
    "pip download --no-binary :all: --no-deps llama-cpp-python, unpack, give vendor/llama.cpp",
)
# Keys that only one of the two has, by their ends; what a key of both says must be the same.
_ONLY_OURS = (
    ".vocab_size", ".rope.dimension_count", ".attention.key_length", ".attention.value_length",
)  # fmt: skip
_ONLY_THEIRS = ("general.size_label", "general.basename", "general.finetune", "general.version")
_NAMES = ("general.name",)
_OURS_IN: dict[str, tuple[str, ...]] = {
    "gemma2": (".rope.freq_base",),
    "gemma2-pattern-linear": (
        ".rope.freq_base", ".rope.scaling.type", ".rope.scaling.factor", ".attention.sliding_window_pattern",
    ),
    "gemma3-pattern-untied": (".attention.sliding_window_pattern",),
    "llama-yarn": (".rope.scaling.attn_factor",),
    "qwen3-tied-yarn": (".rope.scaling.attn_factor",),
}  # fmt: skip
_THEIRS_IN: dict[str, tuple[str, ...]] = {
    "llama-yarn": (".rope.scaling.yarn_attn_factor",),
    "gemma3-no-window": (".attention.sliding_window", ".rope.freq_base_swa"),
}
_OTHERS_IN: dict[str, tuple[str, ...]] = {
    "mistral-window": (".context_length",), "qwen2-window": (".context_length",),
}  # fmt: skip


_JOBS = [(case, "F32") for case in CASES] + [
    (case, kind) for case in ("llama-3.1", "qwen2", "gemma2", "gemma3", "smollm3") for kind in ("F16", "BF16")
]


def convert(jobs: list[tuple[Path, str]], table: Path) -> list[Path]:
    """What their converter makes of folders, in one process."""
    out = [folder.with_suffix(f".{kind}.gguf") for folder, kind in jobs]
    table.write_text(json.dumps([(str(folder), kind, str(to)) for (folder, kind), to in zip(jobs, out, strict=True)]))
    done = subprocess.run(
        [sys.executable, str(converter_child.__file__), str(LLAMA_CPP), str(table)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def convert_one(folder: Path) -> Path:
    """Their F32 file of a folder."""
    return convert([(folder, "F32")], folder.with_suffix(".json"))[0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each case, in bf16, with as many rows as tokens."""
    root = tmp_path_factory.mktemp("models")
    for case in CASES:
        save(CASES[case].draw(rows=len(read_tokenizer())).to(torch.bfloat16), root / case.replace(".", "-"))
    return {case: root / case.replace(".", "-") for case in CASES}


@pytest.fixture(scope="module")
def theirs(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    jobs = [(folders[case], kind) for case, kind in _JOBS]
    return dict(zip(_JOBS, convert(jobs, tmp_path_factory.mktemp("jobs") / "jobs.json"), strict=True))


def save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    read_tokenizer().save_pretrained(folder)


def read_tensors(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    return {
        str(tensor.name): (tensor.tensor_type.name, [int(size) for size in tensor.shape], tensor.data.tobytes())
        for tensor in GGUFReader(path).tensors
    }


def read_keys(path: Path) -> dict[str, Any]:
    skipped = ("GGUF.", "tokenizer.", *_NAMES)
    fields = GGUFReader(path).fields.items()
    return {name: field.contents() for name, field in fields if not name.startswith(skipped)}


@pytest.mark.parametrize(("case", "kind"), _JOBS)
def test_tensors_are_those_of_llama_cpp_byte_for_byte(
    case: str, kind: str, folders: dict[str, Path], theirs: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    with Source(folders[case]) as source:
        write_kinds(source, read_tokenizer(), {kind: tmp_path / "ours.gguf"}, name="model")
    ours, other = read_tensors(tmp_path / "ours.gguf"), read_tensors(theirs[case, kind])
    assert sorted(ours) == sorted(other)
    odd = {name: (ours[name][:2], other[name][:2]) for name in ours if ours[name] != other[name]}
    assert odd == {}

    our_keys, their_keys = read_keys(tmp_path / "ours.gguf"), read_keys(theirs[case, kind])
    only_ours = [
        key for key in our_keys.keys() - their_keys if not key.endswith((*_ONLY_OURS, *_OURS_IN.get(case, ())))
    ]
    only_theirs = [
        key for key in their_keys.keys() - our_keys if not key.endswith((*_ONLY_THEIRS, *_THEIRS_IN.get(case, ())))
    ]
    unlike = {
        key: (our_keys[key], their_keys[key])
        for key in our_keys.keys() & their_keys
        if our_keys[key] != their_keys[key] and not key.endswith(_OTHERS_IN.get(case, ("\0",)))
    }
    assert (only_ours, only_theirs, unlike) == ([], [], {})


@pytest.mark.parametrize(
    ("case", "differ"),
    [("llama-2", lambda name: False), ("gemma3", lambda name: "norm.weight" in name)],
    ids=["llama", "gemma-norms-are-rounded-by-theirs"],
)
def test_a_model_stored_in_f16(case: str, differ: Callable[[str], bool], tmp_path: Path) -> None:
    model = CASES[case].draw(rows=len(read_tokenizer()))
    save(model.to(torch.float16), tmp_path / "model")
    with Source(tmp_path / "model") as source:
        write_kinds(source, read_tokenizer(), {"F32": tmp_path / "ours.gguf"}, name="model")
    ours, theirs = read_tensors(tmp_path / "ours.gguf"), read_tensors(convert_one(tmp_path / "model"))
    assert {name for name in ours if ours[name] != theirs[name]} == {name for name in ours if differ(name)}
    for name in filter(differ, ours):
        stored = next(
            weight for key, weight in model.named_parameters() if weight.dim() == 1 and _is(key, name)
        ).float().detach().numpy()  # fmt: skip
        assert np.array_equal(np.frombuffer(ours[name][2], dtype=np.float32), stored + np.float32(1))


def _is(key: str, name: str) -> bool:
    from flytewheel.export.families.plan import find_name

    return find_name("gemma3", 7, key) == name


def test_rows_without_a_token_are_cut_by_theirs_in_gemma_3_alone(tmp_path: Path) -> None:
    rows = len(read_tokenizer()) + 5
    kept = {}
    for case in ("gemma3", "gemma2"):
        save(CASES[case].draw(rows=rows), tmp_path / case)
        kept[case] = read_tensors(convert_one(tmp_path / case))["token_embd.weight"][1][1]
    assert kept["gemma3"] < kept["gemma2"] == rows
