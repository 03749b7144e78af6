"""On a CPU: the kernel for CUDA is another one, the way to it is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flytewheel.models import load_model
from flytewheel.training.batches import Batch
from flytewheel.training.loss import sum_completion_loss
from flytewheel.training.row_attention import suits_rows, take_rows_flat, use_rows
from flytewheel.training.rows import IGNORED
from flytewheel.training.sequences import Sequences, collate, join
from tests.training.teaching import base_spec

LENGTHS = (5, 9, 3, 12, 7, 4)
PACKED: list[Batch] = [(0, 1), (2, 3), (4, 5)]


def _sequences() -> Sequences:
    import random

    from datasets import Dataset

    chance = random.Random(3)
    rows = [[chance.randrange(200) for _ in range(length)] for length in LENGTHS]
    return Sequences(Dataset.from_list([{"input_ids": ids, "labels": ids} for ids in rows]), PACKED)


def test_rows_without_padding_give_the_loss_and_gradients_of_padded_ones(base_model: Path) -> None:
    import torch

    sequences = _sequences()
    items = [sequences[at] for at in range(len(PACKED))]
    found = {}
    for name, batch in (("padded", collate(0)(items)), ("rows", join(items))):
        model: Any = load_model(base_spec(base_model))
        if name == "rows":
            use_rows(model)
        total, tokens = sum_completion_loss(model, batch, head=model.get_output_embeddings(), fused=False)
        total.backward()
        gradient = model.model.layers[0].self_attn.q_proj.weight.grad
        found[name] = (total.detach(), gradient)
        assert tokens == sum(LENGTHS) - len(LENGTHS)
    torch.testing.assert_close(found["rows"], found["padded"], atol=1e-4, rtol=1e-5)


def test_a_batch_of_rows_says_where_each_begins() -> None:
    sequences = _sequences()
    batch = join([sequences[0], sequences[2]])
    assert batch["input_ids"].shape == (1, 5 + 9 + 7 + 4)
    assert batch["cu_seq_lens_q"].tolist() == [0, 5, 14, 21, 25]
    assert batch["cu_seq_lens_k"].tolist() == [0, 5, 14, 21, 25]
    assert batch["max_length_q"] == batch["max_length_k"] == 9
    assert batch["labels"][0, [0, 5, 14, 21]].tolist() == [IGNORED] * 4
    assert batch["position_ids"][0, 13:16].tolist() == [8, 0, 1]


def test_on_a_cpu_batches_are_padded_and_attention_stays(base_model: Path) -> None:
    model = load_model(base_spec(base_model))
    assert not suits_rows(model)
    assert not take_rows_flat(model)
    assert model.config._attn_implementation == "sdpa"
