"""The estimate against numbers worked by hand, and against tensors that are really allocated."""

from __future__ import annotations

from typing import Any

import pytest

from flytewheel.doctor.base import BaseModel, examine_base
from flytewheel.doctor.memory import estimate_disk, estimate_memory
from flytewheel.models import load_model
from flytewheel.profiles import PROFILES
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, Recipe
from flytewheel.training.arguments import lora_config
from tests.training.teaching import training_spec

GIB = 1 << 30
# Llama 3.1 8B: 32 layers of q and o 4096x4096, k and v 1024x4096, three feed-forward matrices, two embeddings.
_LAYER = {
    "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096), "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096), "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
    "mlp.down_proj": (4096, 14336),
}  # fmt: skip
LLAMA = BaseModel(
    "llama", "/models", "LlamaForCausalLM", 8_030_261_248, 16_060_556_376, True, True,
    {
        **{f"model.layers.{n}.{name}.weight": shape for n in range(32) for name, shape in _LAYER.items()},
        "model.embed_tokens.weight": (128_256, 4096), "lm_head.weight": (128_256, 4096),
    },
    {"hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 128_256},
)  # fmt: skip


def _recipe(model: str = "llama", **sections: Any) -> Recipe:
    return Recipe.model_validate({"name": "made", "base": {"model": model, "max_length": 1024}, **sections})


def test_llama_8b_on_cuda_by_hand() -> None:
    """Adapter: 32 layers x 16 x (8192 + 5120 + 5120 + 8192) = 13,631,488 weights, 16 bytes each, 4 for the reference;
    8 rows of 1,024 tokens; checkpoints 8192 x 4096 x 32 x 2 bytes and one layer of 8192 x 4096 x 36 x 2 bytes.
    """
    found = estimate_memory(LLAMA, _recipe(), PROFILES["cuda-bf16"])
    assert found is not None
    assert found.base == 16_060_522_496
    assert found.adapter == 13_631_488 * 20
    assert found.tokens == 8192
    assert found.activations == 8192 * 4096 * 2 * (32 + 36)
    assert found.logits == 8192 * 128_256 * 18
    assert found.least == found.base + found.adapter + found.program
    assert found.most == found.least + found.activations + found.logits


def test_four_bits_are_an_eighth_of_float32() -> None:
    """6,979,321,856 weights in linear layers at 4.127 bits; embeddings and norms, 1,050,939,392, at 2 bytes."""
    recipe = _recipe(training={"adapter": "qlora"})
    found = estimate_memory(LLAMA, recipe, PROFILES["cuda-bf16"])
    assert found is not None
    assert found.base == pytest.approx(6_979_321_856 * 4.127 / 8 + 1_050_939_392 * 2, abs=1)


def test_the_recipes_dtype_and_batches_count() -> None:
    sft_only = _recipe(rlhf={"enable": False}, training={"batch_size": 2})
    bf16 = estimate_memory(LLAMA, sft_only, PROFILES["cuda-bf16"])
    fp32 = estimate_memory(LLAMA, sft_only, PROFILES["cpu"])
    assert bf16 is not None
    assert fp32 is not None
    assert (bf16.tokens, fp32.base) == (2048, 2 * bf16.base)
    assert bf16.adapter == 13_631_488 * 16
    kto = estimate_memory(LLAMA, _recipe(rlhf={"method": "kto", "batch_size": 8}), PROFILES["cuda-bf16"])
    assert kto is not None
    assert kto.tokens == 8192


def test_full_weights_take_sixteen_bytes_each_and_a_copy_in_the_products_type() -> None:
    """8,030,261,248 parameters: 16 bytes each, and on a card with bf16 products 2 more; no reference beside them."""
    recipe = _recipe(training={"adapter": "full"})
    card, cpu, mac = (estimate_memory(LLAMA, recipe, PROFILES[name]) for name in ("cuda-bf16", "cpu", "mps"))
    assert card is not None
    assert cpu is not None
    assert mac is not None
    assert (card.adapter, card.base) == (8_030_261_248 * 16, 8_030_261_248 * 2)
    assert (cpu.adapter, cpu.base) == (mac.adapter, mac.base) == (8_030_261_248 * 16, 0)
    assert mac.activations == cpu.activations == 2 * card.activations  # all in float32, where nothing is cast


def test_full_weights_are_all_parameters_and_their_optimiser() -> None:
    """What is allocated for one step, tensor by tensor: weights, gradients and Adam's moments."""
    import torch

    with quiet_libraries():
        model: Any = load_model(BaseModelSpec(model="pocket"), dtype="float32")
    optimiser = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]])).loss.backward()
    optimiser.step()
    held = [weight for parameter in model.parameters() for weight in (parameter, parameter.grad)]
    held += [value for state in optimiser.state.values() for value in state.values() if value.dim()]
    recipe = _recipe("pocket", training={"adapter": "full"}, rlhf={"enable": False})
    found = estimate_memory(examine_base(BaseModelSpec(model="pocket"))[0], recipe, PROFILES["cpu"])
    assert found is not None
    assert found.base + found.adapter == sum(tensor.numel() * tensor.element_size() for tensor in held)


def test_the_adapter_is_as_large_as_peft_makes_it() -> None:
    from peft import get_peft_model

    base = BaseModelSpec(model="pocket")
    training = training_spec(target_modules=("q_proj", "k_proj", "down_proj"), lora_rank=4)
    with quiet_libraries():
        model: Any = get_peft_model(load_model(base, dtype="float32"), lora_config(training))
    recipe = _recipe("pocket", training=training.model_dump(mode="json"), rlhf={"enable": False})
    found = estimate_memory(examine_base(base)[0], recipe, PROFILES["cpu"])
    assert found is not None
    assert found.adapter == 16 * model.get_nb_trainable_parameters()[0]


def test_nothing_is_estimated_of_what_is_not_here() -> None:
    absent = BaseModel("someone/large", "")
    assert estimate_memory(absent, _recipe(), PROFILES["cpu"]) is None
    assert estimate_disk(absent, _recipe()) is None


def test_disk_counts_every_file_of_two_versions_in_two_places() -> None:
    recipe = _recipe(export={"quantizations": ["Q8_0"], "serve": "Q8_0"})
    assert estimate_disk(LLAMA, recipe) == int(8_030_261_248 * (16 + 8.5) / 8 * 4)
    full = recipe.model_copy(update={"training": training_spec(adapter="full", keep_checkpoints=2)})
    weights = (3 + 4) * 12 + 6 * 4  # checkpoints: SFT's two and alignment's three, and one more each
    assert estimate_disk(LLAMA, full) == int(8_030_261_248 * ((16 + 8.5) / 8 * 4 + weights))
