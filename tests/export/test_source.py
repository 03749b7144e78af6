from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from flytewheel.errors import BaseModelError, ExportError
from flytewheel.export.source import Source

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # by peft
    "ignore:Setting `save_embedding_layers`:UserWarning",
    "ignore:Could not find a config file:UserWarning",
    "ignore:Model has `tie_word_embeddings=True`:UserWarning",
)

IDS = torch.tensor([[1, 5, 9, 2, 40, 7, 61]])


def build(folder: Path, *, tied: bool = False, dtype: torch.dtype = torch.float32, shard: str = "50GB") -> Path:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, attention_bias=True, tie_word_embeddings=tied, initializer_range=0.3,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.add_(torch.randn_like(weight) * 0.1)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return folder


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def adapt(base: Path, folder: Path, **options: Any) -> Any:
    """Saves an adapter whose every number is random, and returns the model with it on."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(2)
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"], **options})
    model: Any = get_peft_model(load(base), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name or weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    return model.eval()


def read(source: Source, rows: int = 7) -> dict[str, torch.Tensor]:
    """Every tensor, put together of ranges of rows."""
    return {
        name: torch.cat(
            [
                torch.from_numpy(source.rows(name, start, min(start + rows, tensor.shape[0])).copy())
                for start in range(0, tensor.shape[0], rows)
            ]
        )
        for name, tensor in source.tensors.items()
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("tied"), tied=True)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    adapt(base, tmp_path / "adapter")
    return tmp_path / "adapter"


ADAPTERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all-linear, r 16": {"target_modules": "all-linear", "r": 16},
    "rank 1": {"r": 1},
    "rank-stabilised": {"use_rslora": True},
    "patterns": {
        "rank_pattern": {"layers.1.self_attn.q_proj": 7, "down_proj": 3},
        "alpha_pattern": {"^model.layers.0.mlp.down_proj": 11, "q_proj": 5},
    },
    "DoRA": {"use_dora": True, "target_modules": "all-linear"},
    "DoRA, rank-stabilised": {"use_dora": True, "use_rslora": True},
    "embeddings": {"target_modules": ["embed_tokens", "lm_head", "v_proj"]},
    "saved modules": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "a saved norm": {"modules_to_save": ["norm"]},
    "biases": {"bias": "all"},
    "some layers": {"layers_to_transform": [1]},
}


@pytest.mark.parametrize("options", ADAPTERS.values(), ids=ADAPTERS.keys())
def test_merging_by_rows_is_what_peft_merges(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    model = adapt(base, tmp_path, **options)
    expected = dict(model.merge_and_unload(safe_merge=True).state_dict())
    with Source(base, tmp_path) as source:
        found = read(source)
    assert set(found) == set(expected)
    changed = 0
    before = load(base).state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
        changed += not torch.equal(found[name], before[name])
    assert changed


@pytest.mark.parametrize(("rank", "alpha"), [(16, 32), (16, 20), (2, 4), (1, 2), (64, 16), (300, 600)])
def test_plain_adapters_merge_bit_for_bit_and_whatever_the_range(
    base: Path, tmp_path: Path, rank: int, alpha: int
) -> None:
    model = adapt(base, tmp_path, target_modules="all-linear", r=rank, lora_alpha=alpha)
    expected = dict(model.merge_and_unload(safe_merge=True).state_dict())
    with Source(base, tmp_path) as source:
        for rows in (1, 2, 16, 100):
            for name, tensor in read(source, rows).items():
                assert torch.equal(tensor, expected[name]), (name, rows)


def test_an_adapter_in_bf16_is_summed_in_fp32(base: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    adapt(base, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file({key: value.to(torch.bfloat16) for key, value in load_file(file).items()}, file)
    model: Any = PeftModel.from_pretrained(load(base), str(tmp_path), autocast_adapter_dtype=True)
    expected = model.merge_and_unload(safe_merge=True).state_dict()
    with Source(base, tmp_path) as source:
        for name, tensor in read(source).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("shard", ["20KB", "50GB"])
def test_bases_of_every_type_sharded_or_not(tmp_path: Path, dtype: torch.dtype, shard: str) -> None:
    folder = build(tmp_path / "base", dtype=dtype, shard=shard)
    assert (folder / "model.safetensors.index.json").is_file() == (shard == "20KB")
    model = adapt(folder, tmp_path / "adapter")
    expected = model.merge_and_unload(safe_merge=True).state_dict()
    with Source(folder, tmp_path / "adapter") as source:
        found = read(source)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["lm_head"]},
    ],
    ids=["LoRA on the output", "LoRA on the input", "saved input", "saved output"],
)
def test_tied_matrices_of_which_one_was_trained_are_two(tied: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """What PEFT computes with the adapter on is what was trained; its merge would change both matrices."""
    model = adapt(tied, tmp_path, **options)
    with Source(tied, tmp_path) as source:
        assert source.config.tie_word_embeddings is False
        found, config = read(source), source.config
    ours: Any = LlamaForCausalLM(config).eval()
    ours.load_state_dict(found)
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS).logits, model(IDS).logits, rtol=1e-4, atol=1e-4)
    assert not torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])


def test_a_tied_matrix_that_is_stored_twice(tied: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tied, tmp_path / "base")
    stored = load_file(folder / "model.safetensors")
    same = stored["model.embed_tokens.weight"].clone()
    save_file({**stored, "lm_head.weight": same}, folder / "model.safetensors")
    with Source(folder) as source:
        assert "lm_head.weight" not in source.tensors
        assert source.config.tie_word_embeddings
    save_file({**stored, "lm_head.weight": same + 1}, folder / "model.safetensors")
    with Source(folder) as source:  # as transformers: both are kept where they differ
        assert torch.equal(read(source)["lm_head.weight"], same + 1)
        assert not source.config.tie_word_embeddings


def test_an_output_matrix_that_is_missing_is_refused(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    stored = load_file(folder / "model.safetensors")
    del stored["lm_head.weight"]
    save_file(stored, folder / "model.safetensors")
    with pytest.raises(ExportError, match=r"lm_head\.weight is missing, and config\.json does not tie it"):
        Source(folder)


def test_buffers_of_older_checkpoints_are_passed_over(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    stored = load_file(folder / "model.safetensors")
    save_file({**stored, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(6)}, folder / "model.safetensors")
    with Source(folder) as source:
        assert set(source.tensors) == set(stored)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lora_bias", True),
        ("fan_in_fan_out", True),
        ("layer_replication", [[0, 2]]),
        ("trainable_token_indices", [1, 2]),
        ("init_lora_weights", "pissa_niter_4"),
        ("alora_invocation_tokens", [1]),
        ("an_idea_of_next_year", True),
        ("peft_type", "IA3"),
        ("use_dora", True),
    ],
)
def test_an_option_that_changes_the_merge_is_refused(base: Path, adapter: Path, option: str, value: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), option: value}))
    with pytest.raises(ExportError, match=option) as raised:
        Source(base, adapter)
    assert "\n" not in str(raised.value)


Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"{Q}.lora_B.weight": None}, r"holds only lora_A of model\.layers\.0\.self_attn\.q_proj"),
        ({f"{Q}.lora_B.weight": torch.zeros(47, 4)}, "has another shape"),
        ({f"{Q}.lora_A.weight": torch.full((4, 48), torch.nan)}, "A of .* not finite"),
        ({f"{Q}.lora_B.bias": torch.zeros(48)}, "no part of a LoRA adapter"),
        ({"prompt_embeddings": torch.zeros(3, 4)}, "no part of a LoRA adapter"),
        ({"base_model.model.score.weight": torch.zeros(3, 4)}, r"the base, which has no score\.weight"),
        ({f"{Q}.lora_magnitude_vector": torch.ones(48)}, "use_dora is False"),
    ],
)
def test_an_adapter_that_is_not_whole_or_does_not_fit(
    base: Path, adapter: Path, change: dict[str, Any], message: str
) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = {**load_file(file), **change}
    save_file({key: value for key, value in tensors.items() if value is not None}, file)
    with pytest.raises(ExportError, match=message) as raised:
        Source(base, adapter)
    assert "\n" not in str(raised.value)


def test_weights_that_are_broken_are_refused_by_name(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    file = folder / "model.safetensors"
    stored = load_file(file)
    stored["model.norm.weight"][3] = torch.inf
    stored["model.layers.1.mlp.up_proj.weight"] = torch.zeros(80, 48).to(torch.float8_e4m3fn)
    save_file(stored, file)
    with Source(folder) as source:
        with pytest.raises(ExportError, match=r"model\.norm\.weight holds a weight that is not finite"):
            source.rows("model.norm.weight", 0, 48)
        source.rows("model.norm.weight", 4, 48)
        with pytest.raises(ExportError, match=r"up_proj\.weight is stored as F8_E4M3, expected F64, F32, F16, BF16"):
            source.rows("model.layers.1.mlp.up_proj.weight", 0, 80)
        with file.open("r+b") as opened:  # cut short while it is open
            opened.truncate(file.stat().st_size // 2)
        with pytest.raises(ExportError, match="it is cut short"):
            read(source)
    with pytest.raises(BaseModelError, match="not safetensors"):
        Source(folder)


def test_a_tensor_that_the_index_promises_must_be_there(tmp_path: Path) -> None:
    folder = build(tmp_path / "base", shard="20KB")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.layers.9.mlp.up_proj.weight"] = "model-00001-of-00001.safetensors".replace(
        "model-00001-of-00001.safetensors", sorted(set(index["weight_map"].values()))[0]
    )
    path.write_text(json.dumps(index))
    with pytest.raises(ExportError, match=r"model\.layers\.9\.mlp\.up_proj\.weight is not in model-00001"):
        Source(folder)
