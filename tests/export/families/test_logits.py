"""The F32 file of each family in llama.cpp against transformers; and each fault that a converter can have, seen."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from flytewheel.export import convert
from flytewheel.export.convert import write_gguf
from flytewheel.export.families import find_family
from flytewheel.export.source import Source
from tests.export.families.faults import plant
from tests.export.families.tiny_families import (
    CASES,
    TOLERANCE,
    measure_gap,
    read_tokenizer,
)
from tests.export.tokenizer_families import KINDS
from tests.export.written import write_model

CLEAR = 10 * TOLERANCE  # a fault is off by at least this
ALL = ("theta wrong", "gate and up swapped", "norms swapped", "layers swapped", "epsilon wrong")
PLANTED: dict[str, tuple[str, ...]] = {
    "llama-2": (*ALL, "q and k not reordered", "k not reordered", "norms shifted"),
    "llama-3.2-tied": ("divisors left out", "theta wrong", "q and k not reordered"),
    "llama-linear": ("factor left out", "factor wrong"),
    "llama-yarn": ("scaling left out", "factor wrong", "factor of attention left out", "original context wrong"),
    "llama-biases": ("bias of q not reordered",),
    "mistral": (*ALL, "q and k not reordered"),
    "qwen2": (*ALL, "q and k reordered"),
    "qwen2-tied-yarn": ("scaling left out", "original context wrong"),
    "qwen3": (*ALL, "q and k reordered", "norms shifted"),
    "gemma2": (
        *ALL, "norms not shifted", "last norm not shifted", "norms after swapped", "cap of attention wrong",
        "cap of logits wrong", "window too short", "window too long", "window left out", "q and k reordered",
    ),
    "gemma2-pattern-linear": ("factor left out", "pattern left out"),
    "gemma3": (
        *ALL, "norms not shifted", "norms of q not shifted", "norms after swapped", "theta of windows wrong",
        "window too short", "window too long", "window left out", "q and k reordered",
    ),
    "gemma3-linear-capped": ("factor left out", "factor wrong", "cap of logits left out", "cap of logits wrong"),
    "gemma3-pattern-untied": ("pattern left out",),
    "smollm3": (*ALL, "q and k not reordered"),
}  # fmt: skip


@functools.cache
def draw(case: str) -> Any:
    return CASES[case].draw()


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    write_model(draw(case), read_tokenizer(), tmp_path / "f32.gguf", kind="F32")
    gap = measure_gap(draw(case), tmp_path / "f32.gguf")
    assert gap < (TOLERANCE if case.startswith("gemma") else 1e-4)


@pytest.mark.parametrize(("case", "fault"), [(case, fault) for case, faults in PLANTED.items() for fault in faults])
def test_a_fault_shows(case: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = draw(case)
    monkeypatch.setattr(convert, "find_family", lambda config: plant(find_family(config), fault, config))
    write_model(model, read_tokenizer(), tmp_path / "f32.gguf", kind="F32")
    assert measure_gap(model, tmp_path / "f32.gguf") > CLEAR


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("gemma")])
def test_gemma_differs_by_no_more_than_the_table_of_its_activation(case: str, tmp_path: Path) -> None:
    """llama.cpp looks GELU up in f16 on a CPU; where feed-forward layers say nothing, that cannot be seen."""
    model = CASES[case].draw()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.zero_()
    write_model(model, read_tokenizer(), tmp_path / "f32.gguf", kind="F32")
    assert measure_gap(model, tmp_path / "f32.gguf") < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])
@pytest.mark.parametrize("case", ["llama-2", "gemma3", "qwen2-tied-yarn"])
def test_a_folder_in_half_precision_and_several_files(case: str, dtype: Any, tmp_path: Path) -> None:
    import copy

    copy.deepcopy(draw(case)).to(dtype).save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    with Source(tmp_path) as source:
        write_gguf(source, read_tokenizer(), tmp_path / "f32.gguf", name="tiny", kind="F32")
    stored: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    assert measure_gap(stored.eval(), tmp_path / "f32.gguf") < TOLERANCE


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("llama-2", "llama-2"), ("llama-3.1", "llama-3"), ("qwen3", "qwen-2"), ("gemma3", "gemma"),
        ("smollm", "smollm"),
    ],
)  # fmt: skip
def test_a_family_with_a_tokenizer_of_its_kind(case: str, kind: str, tmp_path: Path) -> None:
    tokenizer = KINDS[kind][0](tmp_path)
    model = CASES[case].draw(rows=len(tokenizer))
    write_model(model, tokenizer, tmp_path / "f32.gguf", kind="F32")
    assert measure_gap(model, tmp_path / "f32.gguf") < TOLERANCE
