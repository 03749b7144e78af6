"""The estimate against numbers worked by hand, and against tensors that are really allocated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset
from flytewheel.doctor.base import examine_base
from flytewheel.errors import RecipeError
from flytewheel.models import POCKET, find_device, load_model, load_tokenizer
from flytewheel.profiles import PROFILES
from flytewheel.progress import quiet_libraries
from flytewheel.recipe import BaseModelSpec, BudgetSpec, TrainingSpec
from flytewheel.training.arguments import lora_config
from flytewheel.training.feed import feed_rows
from flytewheel.training.memory import TrainingMemory, estimate_memory, fit_memory, measure_folder
from flytewheel.training.micro_batch import MicroBatch
from flytewheel.training.rows import sft_rows
from flytewheel.training.sft import make_sft_trainer
from tests.llama import LLAMA
from tests.training.teaching import base_spec, training_spec

BASE = BaseModelSpec(model="llama", max_length=1024)


def _estimate(method: str = "sft", profile: str = "cpu", rows: int = 4, **training: Any) -> TrainingMemory:
    found = estimate_memory(
        LLAMA, method, base=BASE, training=TrainingSpec(**training), profile=PROFILES[profile], rows=rows
    )
    assert found is not None
    return found


def test_llama_8b_by_hand() -> None:
    """Adapter: 32 layers x 16 x (8192 + 5120 + 5120 + 8192) = 13,631,488 weights, 16 bytes each; the
    reference takes none.

    Kept of a token in a layer, float32, no dropout: norms 2 x 4096, attention 4 x 4096, feed-forward 3 x 14336, the
    input that q, k and v share 4096, ranks 4 x 16: 71,744. Eight rows of 1,024 tokens; each layer's input, one layer
    whole, and the mask.
    """
    found = _estimate("dpo")
    assert found.tokens == 8192
    assert found.base == 8_030_261_248 * 4
    assert found.adapter == 13_631_488 * 16
    kept = 8192 * 4 * (71_744 + 32 * 4096) + 8192 * 1024 * 4
    assert found.activations == int(kept * 1.1)
    assert found.logits == 4096 * 32_768 * 4 * 8.25
    assert found.least == found.base + found.adapter + found.program
    assert found.most == found.least + found.activations + found.logits


def test_logits_of_sft_come_in_pieces() -> None:
    """2²³ logits of 128,256 words are 65 positions, 2²⁷ on a card 1,046; of full weights all 4,096 positions count."""
    assert _estimate().logits == 3 * 65 * 128_256 * 4
    assert _estimate(profile="cuda-bf16").logits == 3 * 1046 * 128_256 * 4
    assert _estimate(adapter="full").logits == 4 * 4096 * 128_256 * 4
    assert _estimate("orpo").logits == 4 * 8192 * 128_256 * 4


def test_only_what_is_masked_repeats_keys() -> None:
    """Packed rows without a flat layout: 2 x (4096 - 1024) values more in the layer that is whole, and the mask."""
    more = _estimate(packing=True).activations - _estimate(packing=False).activations
    assert more == pytest.approx((4096 * 4 * 2 * 3072 + 4096 * 1024 * 4) * 1.1, abs=2)
    assert _estimate(profile="cuda-bf16", packing=True).activations == (
        _estimate(profile="cuda-bf16", packing=False).activations
    )


def test_dropout_keeps_two_copies_of_every_targets_input() -> None:
    """71,744 - 4,096 + 2 x 4 x 4,096 values."""
    more = _estimate(lora_dropout=0.1).activations - _estimate(lora_dropout=0.0).activations
    assert more == pytest.approx(4096 * 4 * (2 * 4 * 4096 - 4096) * 1.1, abs=2)


def test_four_bits_are_an_eighth_of_float32() -> None:
    """6,979,321,856 weights in linear layers at 4.127 bits; embeddings and norms, 1,050,939,392, at 2 bytes."""
    found = _estimate(profile="cuda-bf16", adapter="qlora")
    assert found.base == pytest.approx(6_979_321_856 * 4.127 / 8 + 1_050_939_392 * 2, abs=1)


def test_headers_tell_what_the_doctor_reads() -> None:
    ours, doctors = measure_folder(POCKET), examine_base(BaseModelSpec(model="pocket"))[0]
    assert (ours.parameters, dict(ours.shapes)) == (doctors.parameters, dict(doctors.shapes))
    assert ours.config["hidden_size"] == doctors.config["hidden_size"]


def test_the_adapter_is_as_large_as_peft_makes_it() -> None:
    from peft import get_peft_model

    base = BaseModelSpec(model="pocket")
    training = training_spec(target_modules=("q_proj", "k_proj", "down_proj"), lora_rank=4)
    with quiet_libraries():
        model: Any = get_peft_model(load_model(base, dtype="float32"), lora_config(training))
    found = estimate_memory(
        measure_folder(POCKET), "sft", base=base, training=training, profile=PROFILES["cpu"], rows=1
    )
    assert found is not None
    assert found.adapter == 16 * model.get_nb_trainable_parameters()[0]


@pytest.mark.parametrize(
    "training",
    [
        {"lora_dropout": 0.0},
        {"lora_dropout": 0.1},
        {"lora_dropout": 0.0, "target_modules": ("q_proj", "gate_proj", "up_proj", "down_proj")},
    ],
)
def test_what_is_kept_is_what_torch_saves(training: dict[str, Any], teaching_data: Path, tmp_path: Path) -> None:
    """Counted over the storages of all tensors saved for the backward pass, weights aside, on `pocket`. With dropout
    the first layer's masks over the embeddings are not needed: 3 of 16 copies.
    """
    import torch

    base = BaseModelSpec(model="pocket", max_length=128)
    spec, tokenizer = training_spec(**training), load_tokenizer(base)
    rows = sft_rows(Dataset(teaching_data).sft("train"), tokenizer, base.max_length)
    with quiet_libraries():
        trainer = make_sft_trainer(
            rows, sft_rows([], tokenizer, 128), tokenizer, [],
            feed_rows(rows, base, spec, seed=1, device=find_device()), base=base, training=spec, seed=1,
            device=find_device(), folder=tmp_path,
        )  # fmt: skip
    weights = {weight.untyped_storage().data_ptr() for weight in trainer.model.parameters()}
    batch = next(iter(trainer.get_train_dataloader()))
    saved: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trainer.compute_loss(trainer.model.train(), batch)
    count, length = batch["input_ids"].shape
    found = estimate_memory(
        measure_folder(POCKET), "sft", base=base, training=spec, profile=PROFILES["cpu"], rows=count, longest=length
    )
    assert found is not None
    assert found.activations / 1.1 == pytest.approx(sum(storage.nbytes() for storage in saved.values()), rel=0.06)


def test_the_micro_batch_is_halved_until_it_fits(base_model: Path) -> None:
    base, training, device = base_spec(base_model), training_spec(), find_device()

    def fit(memory_gb: float | None, least: int = 1) -> tuple[MicroBatch, tuple[str, ...]]:
        return fit_memory(
            BudgetSpec(memory_gb=memory_gb), MicroBatch(64, 2), "sft", base=base, training=training, longest=128,
            rows=1000, device=device, least=least,
        )  # fmt: skip

    def predict(rows: int) -> float:
        size = measure_folder(base_model)
        found = estimate_memory(
            size, "sft", base=base, training=training, profile=device.profile, rows=rows, longest=128
        )
        assert found is not None
        return found.most / 1e9

    assert fit(None) == fit(predict(64)) == (MicroBatch(64, 2), ())
    batch, (said,) = fit(predict(16) * 1.0001)
    assert batch == MicroBatch(16, 8)
    assert said.startswith("micro-batches of 16 instead of 64 for budget.memory_gb 0.")
    assert said.endswith("128 rows a step as before")
    with pytest.raises(RecipeError, match=r"budget\.memory_gb: sft would take 0\.6\d? GB with a micro-batch of 1 alr"):
        fit(0.2)
    with pytest.raises(RecipeError, match="micro-batch of 2 already"):
        fit(0.2, least=2)


def test_full_weights_take_sixteen_bytes_each_and_a_copy_in_the_products_type() -> None:
    """8,030,261,248 parameters: 16 bytes each, and on a card with bf16 products 2 more."""
    card, cpu, mac = (_estimate(profile=name, adapter="full") for name in ("cuda-bf16", "cpu", "mps"))
    assert (card.adapter, card.base) == (8_030_261_248 * 16, 8_030_261_248 * 2)
    assert (cpu.adapter, cpu.base) == (mac.adapter, mac.base) == (8_030_261_248 * 16, 0)
    assert mac.activations == cpu.activations  # all in float32, where nothing is cast


def test_full_weights_are_all_parameters_and_their_optimiser() -> None:
    """What is allocated for one step, tensor by tensor: weights, gradients and Adam's moments."""
    import torch

    base = BaseModelSpec(model="pocket")
    with quiet_libraries():
        model: Any = load_model(base, dtype="float32")
    optimiser = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]])).loss.backward()
    optimiser.step()
    held = [weight for parameter in model.parameters() for weight in (parameter, parameter.grad)]
    held += [value for state in optimiser.state.values() for value in state.values() if value.dim()]
    found = estimate_memory(
        measure_folder(POCKET),
        "sft",
        base=base,
        training=training_spec(adapter="full"),
        profile=PROFILES["cpu"],
        rows=1,
    )
    assert found is not None
    assert found.base + found.adapter == sum(tensor.numel() * tensor.element_size() for tensor in held)
