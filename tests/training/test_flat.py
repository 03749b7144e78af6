"""A batch computed flat gives what the padded one gives: values, gradients, and nothing at padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from flytewheel.training.flat import flatten_forward


def _load(folder: Path, attention: str) -> Any:
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    model = AutoModelForCausalLM.from_pretrained(str(folder), attn_implementation=attention, dtype=torch.float32)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def _batch(vocabulary: int) -> dict[str, torch.Tensor]:
    """Four rows of 3 to 11 tokens, the answers (with labels) in their second halves."""
    generator = torch.Generator().manual_seed(3)
    lengths = (11, 3, 7, 8)
    ids = torch.randint(5, vocabulary, (4, 11), generator=generator)
    mask = torch.zeros(4, 11, dtype=torch.long)
    labels = torch.full((4, 11), -100)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
        first = 0 if row == 2 else length // 2  # a first token is nobody's next one: its label asks nothing
        labels[row, first:length] = ids[row, first:length]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_flat_equals_padded(attention: str, base_model: Path) -> None:
    padded, flat = _load(base_model, attention), _load(base_model, attention)
    flatten_forward(flat)
    batch = _batch(padded.config.vocab_size)
    expected = padded(**batch, fused_lm_head=True)
    seen: list[tuple[int, ...]] = []
    flat.model.embed_tokens.register_forward_hook(lambda module, inputs, out: seen.append(tuple(inputs[0].shape)))
    found = flat(**batch, fused_lm_head=True)
    assert seen == [(1, 29)], "no padding may be computed"
    assert found.log_probs.shape == (4, 10)
    torch.testing.assert_close(found.log_probs, expected.log_probs, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.entropy, expected.entropy, atol=1e-5, rtol=0)
    assert torch.equal(found.label_mask, expected.label_mask)
    assert torch.equal(found.is_top1, expected.is_top1.to(found.is_top1.dtype))
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=0)

    for model, out in ((padded, expected), (flat, found)):
        (out.log_probs.sum(dim=1) * torch.tensor([1.0, -1.0, 0.5, 2.0])).sum().backward()
        assert model.model.layers[0].self_attn.q_proj.weight.grad is not None
    theirs, ours = (dict(model.named_parameters()) for model in (padded, flat))
    for name, weight in ours.items():
        torch.testing.assert_close(weight.grad, theirs[name].grad, atol=1e-5, rtol=1e-4)


def test_a_neighbour_changes_nothing(base_model: Path) -> None:
    model = _load(base_model, "sdpa")
    flatten_forward(model)
    batch = _batch(model.config.vocab_size)
    before = model(**batch, fused_lm_head=True).log_probs
    batch["input_ids"][0] = 7
    batch["labels"][0] = torch.where(batch["labels"][0] == -100, -100, 7)
    after = model(**batch, fused_lm_head=True).log_probs
    assert not torch.equal(before[0], after[0])
    torch.testing.assert_close(before[1:], after[1:], atol=1e-6, rtol=0)


def test_other_calls_go_through(base_model: Path) -> None:
    model = _load(base_model, "sdpa")
    batch = _batch(model.config.vocab_size)
    expected = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    flatten_forward(model)
    found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert torch.equal(expected, found)
