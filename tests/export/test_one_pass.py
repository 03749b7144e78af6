"""The files of one pass against those of three steps: PEFT merges and saves, the F32 file is written, and
`llama_model_quantize` quantises it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from flytewheel.errors import ExportError
from flytewheel.export import convert
from flytewheel.export.convert import write_gguf, write_kinds
from flytewheel.export.source import Source
from flytewheel.export.tensor_types import KINDS
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import file_digest
from tests.export.written import quantize, write_model
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama in bf16 and several files, wide enough that K-quants fit most of its rows."""
    folder = build_tiny_model(tmp_path_factory.mktemp("base"), hidden=256, layers=9, tied=False, spread=0.1)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="2MB")
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def steps(base: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digest of the file of each kind as three steps make it."""
    from peft import PeftModel

    out = tmp_path_factory.mktemp("steps")
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    write_model(merged, AutoTokenizer.from_pretrained(base), out / "F32", kind="F32")
    for kind in KINDS:
        if kind != "F32":
            quantize(out / "F32", out / kind, kind)
    return {kind: file_digest(out / kind) for kind in KINDS}


@pytest.mark.parametrize(("threads", "numbers"), [(1, 1 << 20), (2, 1 << 12), (5, 3000)])
def test_every_kind_is_byte_for_byte_what_three_steps_make(
    base: Path,
    adapter: Path,
    steps: dict[str, str],
    tmp_path: Path,
    threads: int,
    numbers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convert, "CHUNK_NUMBERS", numbers)
    told: list[tuple[str, int, int | None]] = []
    with Source(base, adapter) as source:
        conversion = write_kinds(
            source,
            AutoTokenizer.from_pretrained(base),
            {kind: tmp_path / kind for kind in KINDS},
            name="tiny",
            threads=threads,
            progress=lambda *args: told.append(args),
        )
    assert {kind: file_digest(tmp_path / kind) for kind in KINDS} == steps
    assert conversion.types["Q4_K_M"].counts.keys() == {"F32", "Q4_K", "Q6_K"}
    size = sum((tmp_path / kind).stat().st_size for kind in KINDS)
    assert told[0][1:] == (0, told[-1][2])
    assert told[-1][1] == told[-1][2]
    assert 0 <= size - (told[-1][1] << 20) < 2 << 20  # all but keys and names


def test_one_kind_alone_is_the_same_file(base: Path, adapter: Path, steps: dict[str, str], tmp_path: Path) -> None:
    with Source(base, adapter) as source:
        write_gguf(source, AutoTokenizer.from_pretrained(base), tmp_path / "q", name="tiny", kind="Q5_K_M")
    assert file_digest(tmp_path / "q") == steps["Q5_K_M"]


def test_rows_that_no_k_quant_fits_are_listed(tmp_path: Path) -> None:
    tiny = build_tiny_model(tmp_path / "tiny")  # rows of 64 and 128, a K-quant takes 256
    kinds = ("F16", "Q8_0", "Q4_K_M")
    with Source(tiny) as source:
        conversion = write_kinds(
            source, AutoTokenizer.from_pretrained(tiny), {kind: tmp_path / kind for kind in kinds}, name="tiny"
        )
    types = conversion.types
    assert len(types["Q4_K_M"].fallbacks) == 2 * 7 + 1
    assert set(types["Q4_K_M"].fallbacks.values()) == {"Q5_0", "Q8_0"}
    assert types["Q8_0"].fallbacks == {}
    assert types["F16"].counts == {"F16": 15, "F32": 5}


def test_a_weight_that_f16_cannot_hold_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny = build_tiny_model(tmp_path / "tiny")
    stored = load_file(tiny / "model.safetensors")
    stored["model.layers.1.mlp.up_proj.weight"][3, 5] = 70000.0
    save_file(stored, tiny / "model.safetensors", metadata={"format": "pt"})
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    with Source(tiny) as source:
        write_kinds(source, tokenizer, {kind: tmp_path / kind for kind in ("F32", "BF16", "Q8_0")}, name="tiny")
        with pytest.raises(ExportError, match=r"layers\.1\.mlp\.up_proj\.weight holds a weight that f16 cannot hold"):
            write_kinds(source, tokenizer, {kind: tmp_path / kind for kind in ("Q8_0", "F16")}, name="tiny")


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert.shutil, "disk_usage", lambda folder: SimpleNamespace(free=80 << 20))
    files = {kind: tmp_path / kind for kind in KINDS}
    with Source(base) as source:
        with pytest.raises(ExportError, match=r"need \d+ MiB on the disk, 80 MiB are free; make room") as raised:
            write_kinds(source, AutoTokenizer.from_pretrained(base), files, name="tiny")
        assert "\n" not in str(raised.value)
        assert not list(tmp_path.iterdir())
        few = {"Q8_0": tmp_path / "q8"}
        write_kinds(source, AutoTokenizer.from_pretrained(base), few, name="tiny")
        with pytest.raises(ExportError, match="make room"):
            write_kinds(source, AutoTokenizer.from_pretrained(base), few, name="tiny", reserve=20 << 20)


FULL = """
import resource, sys
from pathlib import Path
from transformers import AutoTokenizer
from flytewheel.errors import ExportError
from flytewheel.export.convert import write_kinds
from flytewheel.export.source import Source

base, out = map(Path, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, resource.RLIM_INFINITY))
with Source(base) as source:
    try:
        write_kinds(source, AutoTokenizer.from_pretrained(base), {"Q8_0": out}, name="tiny", threads=2)
    except ExportError as error:
        print("refused:", error)
"""


def test_a_file_that_cannot_grow_any_more_is_one_line(base: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the midst of it."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(base), str(tmp_path / "q8")],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith("refused:")]
    assert len(told) == 1, done.stderr
    assert "q8: cannot be written (File too large); make room on the disk and export again" in told[0]


def test_the_pocket_base_becomes_what_llama_cpp_makes_of_it(tmp_path: Path) -> None:
    from flytewheel.export.source import open_source
    from flytewheel.models import load_tokenizer

    pocket = BaseModelSpec(model="pocket")
    files = {kind: tmp_path / kind for kind in ("F32", "Q4_K_M")}
    with open_source(pocket, None) as source:
        write_kinds(source, load_tokenizer(pocket), files, name="pocket", threads=2)
    quantize(files["F32"], tmp_path / "theirs", "Q4_K_M")
    assert file_digest(files["Q4_K_M"]) == file_digest(tmp_path / "theirs")
