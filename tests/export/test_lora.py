"""An adapter alone, on the base's file, says what the merged file says; one resident base serves several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from gguf import GGUFReader

from flytewheel.errors import ExportError
from flytewheel.export.convert import write_kinds
from flytewheel.export.families import llama
from flytewheel.export.llamacpp import open_llama, read_logits
from flytewheel.export.lora import find_obstacle, write_lora
from flytewheel.export.parity import AdapterFiles, check_parity
from flytewheel.export.parity.divergence import compare, mean_nats
from flytewheel.export.parity.tokens import render_prompts
from flytewheel.export.source import open_source
from flytewheel.llama_server import run_server
from flytewheel.models import load_tokenizer
from flytewheel.recipe import BaseModelSpec
from tests.export.parity.conftest import POCKET, SPEC, draw_talks, train_adapter
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft

KINDS = ("F16", "Q8_0")


@dataclasses.dataclass(frozen=True)
class Trained:
    """Two adapters, each as trained, alone as a file, and merged; and the base."""

    adapters: list[Path]
    alone: list[Path]
    merged: list[dict[str, Path]]
    base: dict[str, Path]
    prompts: list[Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder, tokenizer = tmp_path_factory.mktemp("lora"), load_tokenizer(POCKET)
    adapters = [
        train_adapter(folder / "one", 1),
        train_adapter(folder / "two", 2, use_rslora=True, alpha_pattern={"q_proj": 3}, rank_pattern={"k_proj": 2}),
    ]
    alone = [folder / f"{adapter.name}.gguf" for adapter in adapters]
    merged = [{kind: folder / f"{adapter.name}-{kind}.gguf" for kind in KINDS} for adapter in adapters]
    base = {kind: folder / f"base-{kind}.gguf" for kind in KINDS}
    for adapter, path, files in zip(adapters, alone, merged, strict=True):
        with open_source(POCKET, adapter) as source:
            assert find_obstacle(source) is None
            assert write_lora(source, path, name="pocket") == 4 * 7
            write_kinds(source, tokenizer, files, name="pocket")
    with open_source(POCKET, None) as source:
        write_kinds(source, tokenizer, base, name="pocket")
    prompts = render_prompts(tokenizer, [talk[:-1] for talk in draw_talks(3, 5)])
    return Trained(adapters, alone, merged, base, prompts)


def read_all(path: Path, prompts: Sequence[Any], lora: Path | None = None) -> list[Any]:
    more = {} if lora is None else {"lora_path": str(lora)}
    with open_llama(path, n_ctx=256, n_threads=1, n_threads_batch=1, **more) as opened:
        return [torch.from_numpy(read_logits(opened, prompt.ids).copy()) for prompt in prompts]


def nats_between(one: list[Any], other: list[Any]) -> float:
    return mean_nats([compare(left, right) for left, right in zip(one, other, strict=True)])


@pytest.mark.parametrize("which", [0, 1], ids=["plain", "patterns"])
def test_base_and_adapter_compute_what_the_merged_file_does(which: int, trained: Trained) -> None:
    merged = read_all(trained.merged[which]["F16"], trained.prompts)
    added = read_all(trained.base["F16"], trained.prompts, trained.alone[which])
    bare = read_all(trained.base["F16"], trained.prompts)
    assert nats_between(merged, added) < 1e-6
    assert nats_between(merged, bare) > 1e-4  # what the adapter changes
    # On a quantised base the difference is what rounding W and W + BA costs each of them.
    quantised = read_all(trained.base["Q8_0"], trained.prompts, trained.alone[which])
    rounding = nats_between(merged, read_all(trained.merged[which]["Q8_0"], trained.prompts))
    assert nats_between(merged, quantised) < 3 * rounding < 1e-4


def test_the_header_says_what_it_is_and_the_same_adapter_gives_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    reader = GGUFReader(trained.alone[0])
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert (fields["general.type"], fields["adapter.type"], fields["general.architecture"]) == (
        "adapter", "lora", "llama",
    )  # fmt: skip
    assert fields["adapter.lora.alpha"] == 4.0  # the rank: the scale, 8/4, is in the numbers
    shapes = {tensor.name: [int(size) for size in tensor.shape] for tensor in reader.tensors}
    assert shapes["blk.3.ffn_down.weight.lora_a"] == [768, 4]
    assert shapes["blk.3.ffn_down.weight.lora_b"] == [4, 256]
    with open_source(POCKET, trained.adapters[0]) as source:
        write_lora(source, tmp_path / "again.gguf", name="pocket")
    assert (tmp_path / "again.gguf").read_bytes() == trained.alone[0].read_bytes()


def spoil_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama, "interleave", lambda rows, heads: None)


@pytest.mark.parametrize("fault", ["order", "another-adapter", "halved"])
def test_the_gate_refuses_a_wrong_adapter_file(
    fault: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "adapter.gguf"
    with monkeypatch.context() as patched, open_source(POCKET, trained.adapters[0]) as source:
        if fault == "order":
            spoil_order(patched)
        write_lora(source, path, name="pocket")
    if fault == "another-adapter":
        path.write_bytes(trained.alone[1].read_bytes())
    if fault == "halved":
        reader = GGUFReader(path, "r+")
        reader.fields["adapter.lora.alpha"].parts[-1][0] *= np.float32(0.5)
        reader.data.flush()
    with pytest.raises(ExportError, match=r"^adapter\.gguf: llama\.cpp computes something else"):
        check_parity(
            POCKET,
            trained.adapters[0],
            load_tokenizer(POCKET),
            {"Q8_0": trained.merged[0]["Q8_0"]},
            draw_talks(3, 5),
            spec=SPEC,
            adapter=AdapterFiles(path, trained.base["Q8_0"], "Q8_0"),
        )


def answer(url: str, prompt: Any, **more: Any) -> str:
    body = {"prompt": prompt.ids, "n_predict": 24, "temperature": 0, "cache_prompt": False, **more}
    got = httpx.post(f"{url}/completion", json=body, timeout=60, trust_env=False).raise_for_status()
    return str(got.json()["content"])


def test_one_resident_base_answers_as_each_merged_version_does(trained: Trained) -> None:
    def alone(path: Path) -> list[str]:
        with run_server(path, alias="m", threads=1, slot_tokens=256) as url:
            return [answer(url, prompt) for prompt in trained.prompts]

    merged, bare = [alone(files["F16"]) for files in trained.merged], alone(trained.base["F16"])
    with run_server(trained.base["F16"], alias="m", threads=1, slot_tokens=256, slots=2, adapters=trained.alone) as url:
        for number, prompt in enumerate(trained.prompts):  # by turns, so that every request switches
            assert answer(url, prompt, lora=[{"id": 0, "scale": 1.0}]) == merged[0][number]
            assert answer(url, prompt, lora=[{"id": 1, "scale": 1.0}]) == merged[1][number]
            assert answer(url, prompt) == bare[number]
    assert merged[0] != merged[1] != bare


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["norm"]}, "was trained as a whole"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "ties to its output matrix"),
    ],
    ids=["dora", "whole-tensor", "tied-embedding"],
)
def test_what_llama_cpp_cannot_be_told_is_not_written(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with open_source(POCKET, train_adapter(tmp_path / "adapter", 1, **options)) as source:
        assert told in str(find_obstacle(source))
    with open_source(POCKET, None) as source:
        assert find_obstacle(source) == "no LoRA adapter was trained"


def test_adapters_on_both_embeddings_of_an_untied_model(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from flytewheel.models import load_model

    base = BaseModelSpec(model=str(build_tiny_model(tmp_path / "base", tied=False)))
    torch.manual_seed(1)
    model: Any = get_peft_model(
        load_model(base, dtype="float32"),
        LoraConfig(r=4, target_modules=["embed_tokens", "lm_head", "v_proj"], init_lora_weights=False),
    )
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    tokenizer = load_tokenizer(base)
    with open_source(base, tmp_path / "adapter") as source:
        assert find_obstacle(source) is None
        write_lora(source, tmp_path / "adapter.gguf", name="tiny")
        write_kinds(source, tokenizer, {"F16": tmp_path / "merged.gguf"}, name="tiny")
    with open_source(base, None) as source:
        write_kinds(source, tokenizer, {"F16": tmp_path / "base.gguf"}, name="tiny")
    prompts = render_prompts(tokenizer, [talk[:-1] for talk in draw_talks(2, 5)])
    prompts = [dataclasses.replace(prompt, ids=prompt.ids[:200]) for prompt in prompts]
    merged = read_all(tmp_path / "merged.gguf", prompts)
    added = read_all(tmp_path / "base.gguf", prompts, tmp_path / "adapter.gguf")
    assert nats_between(merged, added) < 1e-6
    assert nats_between(merged, read_all(tmp_path / "base.gguf", prompts)) > 1e-4
