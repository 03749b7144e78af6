from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from flytewheel.errors import BaseModelError, ExportError
from flytewheel.export.export import export_model
from flytewheel.export.parity import divergence
from flytewheel.export.parity.reference import load_trained
from flytewheel.export.report import read_report
from flytewheel.models import load_model
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import build_prompt, file_digest
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft

ADAPTER_FILE = "adapter-F16.gguf"
PROMPTS = [build_prompt(f"What do I do when service {number} is down?") for number in range(6)]
SPEC = ExportSpec(quantizations=("F16", "Q8_0"), parity_prompts=3, parity_tokens=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSpec:
    return BaseModelSpec(model=str(build_tiny_model(tmp_path_factory.mktemp("base"))), system_prompt="Be brief.")


@pytest.fixture(scope="module")
def adapter(base: BaseModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(3)
    model = get_peft_model(
        load_model(base, dtype="float32"),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False),
    )
    model.save_pretrained(folder)
    (folder / "report.json").write_text("{}")
    return folder


def export(out: Path, base: BaseModelSpec, adapter: Path | None = None, **options: Any) -> Any:
    return export_model(
        out, **{"base": base, "adapter": adapter, "export": SPEC, "prompts": PROMPTS, "seed": 1, **options}
    )


def names(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


FILES = {"model-F16.gguf", "model-Q8_0.gguf", "Modelfile", "parity.json", "export.json"}
ADAPTER = {ADAPTER_FILE, "adapter/adapter_config.json", "adapter/adapter_model.safetensors"}


def test_base_and_adapter_become_different_files_with_proof(base: BaseModelSpec, adapter: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    plain = export(tmp_path / "base", base)
    tuned = export(tmp_path / "tuned", base, adapter, progress=lambda what, done, total: seen.append(what))

    assert names(tmp_path / "base") == FILES
    assert names(tmp_path / "tuned") == FILES | ADAPTER
    assert plain.files["model-F16.gguf"].sha256 != tuned.files["model-F16.gguf"].sha256
    for report, out in ((plain, tmp_path / "base"), (tuned, tmp_path / "tuned")):
        assert read_report(out) == report
        for name, file in report.files.items():
            assert (file_digest(out / name), (out / name).stat().st_size) == (file.sha256, file.size)
        assert report.parity.prompts == report.parity.greedy_equal == 3
        assert report.parity.mean_kl_nats["F16"] < 1e-6
        assert report.serve == "model-Q8_0.gguf"
        assert set(report.seconds) == {"write", "parity"}
        assert 'SYSTEM """Be brief."""' in (out / "Modelfile").read_text()
    assert (plain.adapter_digest is None, tuned.adapter_digest is None) == (True, False)
    assert len(json.loads((tmp_path / "tuned/parity.json").read_text())["prompts"]) == 3
    assert {"writing F16, Q8_0 (MiB)", "parity: distributions", "parity: answers"} < set(seen)
    assert tuned.adapter_file is not None
    assert file_digest(tmp_path / "tuned" / ADAPTER_FILE) == tuned.adapter_file.sha256
    assert (plain.adapter_file, plain.adapter_obstacle, tuned.adapter_obstacle) == (None, None, None)


def test_an_adapter_is_tried_on_the_bases_own_file_where_there_is_one(
    base: BaseModelSpec, adapter: Path, tmp_path: Path
) -> None:
    export(tmp_path / "base", base)
    on_base = tmp_path / "base" / "model-Q8_0.gguf"
    report = export(tmp_path / "tuned", base, adapter, base_file=on_base)
    assert "adapter" in report.parity.mean_kl_nats
    assert on_base.is_file()
    with pytest.raises(ExportError, match=r"model-Q8_0\.gguf: .* another model's file"):  # the candidate's is no base
        export(tmp_path / "again", base, adapter, base_file=tmp_path / "tuned" / "model-Q8_0.gguf")
    without = SPEC.model_copy(update={"adapter": False})
    report = export(tmp_path / "without", base, adapter, export=without)
    assert names(tmp_path / "without") == FILES | ADAPTER - {ADAPTER_FILE}
    assert report.notes[0] == "no adapter file: export.adapter is off"


def test_merging_adds_the_scaled_product_of_the_adapter(base: BaseModelSpec, adapter: Path) -> None:
    from safetensors.torch import load_file

    before, after = load_trained(base, None), load_trained(base, adapter)
    lora = load_file(adapter / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text())
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    delta = lora[f"{layer}.lora_B.weight"] @ lora[f"{layer}.lora_A.weight"] * config["lora_alpha"] / config["r"]
    one, other = (model.model.layers[0].self_attn.q_proj.weight for model in (before, after))
    torch.testing.assert_close(other, one + delta, atol=1e-6, rtol=1e-5)


@pytest.fixture(scope="module")
def full(base: BaseModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full weights that differ from the base's in every tensor."""
    folder = tmp_path_factory.mktemp("full")
    model: Any = load_model(base, dtype="float32")
    torch.manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    model.save_pretrained(folder)
    (folder / "report.json").write_text("{}")
    return folder


def test_full_weights_take_the_bases_place_as_they_are(base: BaseModelSpec, full: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader
    from safetensors.torch import load_file

    published = load_file(full / "model.safetensors")
    model = load_trained(base, full)
    weights = dict(model.named_parameters())
    assert set(weights) == set(published)
    for name, weight in weights.items():
        assert torch.equal(weight, published[name]), name

    report = export(tmp_path / "out", base, full)
    kept = {"config.json", "generation_config.json", "model.safetensors"}
    assert names(tmp_path / "out") == FILES | {f"weights/{name}" for name in kept}
    for name in kept:
        assert (tmp_path / "out/weights" / name).read_bytes() == (full / name).read_bytes()
    assert report.parity.prompts == report.parity.greedy_equal == 3
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "out/model-F16.gguf").tensors}
    down = torch.from_numpy(tensors["blk.0.ffn_down.weight"].copy())
    assert torch.equal(down, published["model.layers.0.mlp.down_proj.weight"].half())
    export(tmp_path / "out", base)
    assert names(tmp_path / "out") == FILES


def test_the_same_input_gives_the_same_files(base: BaseModelSpec, adapter: Path, tmp_path: Path) -> None:
    one, two = export(tmp_path / "one", base, adapter), export(tmp_path / "two", base, adapter)
    assert one.files == two.files
    assert (tmp_path / "one/parity.json").read_bytes() == (tmp_path / "two/parity.json").read_bytes()


def test_a_failed_export_leaves_nothing_that_looks_finished(
    base: BaseModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(out, base)
    (out / "unrelated.txt").write_text("mine")
    monkeypatch.setattr(divergence, "FLOOR", -1.0)
    monkeypatch.setattr(divergence, "EXECUTION", -1.0)
    with pytest.raises(ExportError, match="nats a token"):
        export(out, base)
    assert names(out) == {"unrelated.txt"}
    with pytest.raises(ExportError, match="no finished export"):
        read_report(out)


KILLED = """
import os, signal, sys
from pathlib import Path
from flytewheel.export.export import export_model
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import build_prompt

def progress(what, done, total):
    if what.startswith("writing") and done:
        os.kill(os.getpid(), signal.SIGKILL)

export_model(
    Path(sys.argv[1]), base=BaseModelSpec(model="pocket"), adapter=None, export=ExportSpec(parity_prompts=1),
    prompts=[build_prompt("What now?")], seed=1, progress=progress,
)
"""


def test_an_export_that_is_killed_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {".export-in-progress"}
    with pytest.raises(ExportError, match="no finished export"):
        read_report(tmp_path)


def test_f16_is_left_out_where_it_is_not_asked_for(base: BaseModelSpec, tmp_path: Path) -> None:
    report = export(tmp_path, base, export=SPEC.model_copy(update={"quantizations": ("Q8_0",)}))
    assert names(tmp_path) == FILES - {"model-F16.gguf"}
    assert list(report.files) == ["model-Q8_0.gguf"]
    served = SPEC.model_copy(update={"quantizations": ("Q8_0",), "serve": "F16"})
    assert export(tmp_path, base, export=served).serve == "model-F16.gguf"
    assert names(tmp_path) == FILES


def test_what_a_killed_export_left_is_swept_up(base: BaseModelSpec, tmp_path: Path) -> None:
    left = tmp_path / ".export-in-progress"
    left.mkdir()
    (left / "model-F16.gguf").write_bytes(b"half")
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"of an earlier recipe")
    export(tmp_path, base)
    assert names(tmp_path) == FILES


def test_an_adapter_that_is_none_or_does_not_fit_is_one_line(
    base: BaseModelSpec, adapter: Path, full: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"expected an adapter .* or full weights"):
        export(tmp_path / "out", base, tmp_path)
    wider = BaseModelSpec(model=str(build_tiny_model(tmp_path / "wider", hidden=128)))
    with pytest.raises(ExportError, match=r"the adapter does not fit the base") as raised:
        export(tmp_path / "out", wider, adapter)
    assert "\n" not in str(raised.value)
    with pytest.raises(BaseModelError, match=r"does not fit base\.model .*hidden_size is 64, the base has 128"):
        export(tmp_path / "out", wider, full)
    with pytest.raises(ExportError, match="export needs prompts"):
        export(tmp_path / "out", base, prompts=[])
    assert names(tmp_path / "out") == set()
