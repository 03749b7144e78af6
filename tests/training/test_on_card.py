"""What only a CUDA card can show: the kernel by rows gives what the mask gives, padded pairs what flat ones do, and a
compiled layer with fewer layers recomputed the same loss. Skipped where there is none.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flytewheel.training.flat import flatten_forward
from flytewheel.training.row_attention import suits_rows, use_rows
from flytewheel.training.sequences import Sequences, collate, join

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA card: run it on a machine that has one"
)

LENGTHS = (37, 5, 64, 21, 90, 13)


def _model() -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig
    from trl.trainer.utils import add_fused_lm_head

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=500, hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    with torch.device("cuda"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def _table() -> Any:
    import random

    from datasets import Dataset

    chance = random.Random(0)
    rows = [[chance.randrange(500) for _ in range(length)] for length in LENGTHS]
    return Dataset.from_list([{"input_ids": ids, "labels": ids, "length": len(ids)} for ids in rows])


def _put(batch: Any) -> dict[str, Any]:
    return {name: value.cuda() if torch.is_tensor(value) else value for name, value in batch.items()}


def test_the_kernel_by_rows_gives_what_the_mask_gives() -> None:
    sequences = Sequences(_table(), [(0, 1, 2), (3, 4, 5)])
    items = [sequences[0], sequences[1]]
    masked, by_rows = _model(), _model()
    assert suits_rows(by_rows)
    use_rows(by_rows)
    padded, flat = _put(collate(0)(items)), _put(join(items))
    with torch.no_grad():
        expected = masked(
            input_ids=padded["input_ids"], position_ids=padded["position_ids"], use_cache=False
        ).logits.float()
        own = {name: value for name, value in flat.items() if name not in ("labels", "attention_mask")}
        found = by_rows(**own, use_cache=False).logits.float()[0]
    ends = [sum(LENGTHS[:3]), sum(LENGTHS[3:])]
    together = torch.cat([expected[at, :end] for at, end in enumerate(ends)])
    assert (found - together).abs().max() < 0.03 * together.abs().max()


def test_pairs_computed_flat_give_what_padded_ones_give_compiled_too() -> None:
    sequences = Sequences(_table())
    batch = _put(collate(0)([sequences[at] for at in range(len(sequences))]))
    padded, flat = _model(), _model()
    use_rows(flat)
    flatten_forward(flat)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    expected = padded(**inputs, fused_lm_head=True)
    for compiled in (False, True):
        if compiled:
            flat.activation_checkpointing_enable({"use_reentrant": False})
            for number, layer in enumerate(flat.model.layers):
                layer.gradient_checkpointing = number < 1
                layer.compile()
            flat.train()
        found = flat(**inputs, fused_lm_head=True)
        assert found.log_probs.shape == expected.log_probs.shape
        assert (found.log_probs - expected.log_probs).abs().max() < 0.15
        assert abs(found.loss.item() - expected.loss.item()) < 0.01
        flat.zero_grad()
        found.loss.backward()
    expected.loss.backward()
    theirs, ours = (model.model.layers[0].self_attn.q_proj.weight.grad.float() for model in (padded, flat))
    assert torch.nn.functional.cosine_similarity(theirs.flatten(), ours.flatten(), dim=0) > 0.99
