from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.models import load_model
from flytewheel.progress import quiet_libraries
from flytewheel.training import loss
from flytewheel.training.arguments import lora_config
from flytewheel.training.loss import can_fuse, sum_completion_loss
from flytewheel.training.rows import IGNORED
from tests.training.teaching import base_spec, training_spec


def _model(base_model: Path) -> Any:
    """The base with an adapter whose B matrices are not zero, so that every gradient is something."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(1)
    with quiet_libraries():
        model = get_peft_model(load_model(base_spec(base_model)), lora_config(training_spec(lora_dropout=0.0)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model


def _batch(vocabulary: int) -> dict[str, Any]:
    """Three rows of 12, 9 and 5 tokens, padded at their end, with loss on their last 6, 4 and 2."""
    import torch

    torch.manual_seed(2)
    ids = torch.randint(vocabulary, (3, 12))
    labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
    for row, (length, own) in enumerate(((12, 6), (9, 4), (5, 2))):
        labels[row, length - own : length] = ids[row, length - own : length]
        mask[row, :length] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def _gradients(model: Any, total: Any) -> dict[str, Any]:
    model.zero_grad()
    total.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("piece", [2**23, 1])
def test_loss_and_gradients_are_those_of_the_whole_logits(
    fused: bool, piece: int, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is transformers' own loss over all logits, with the attention mask that ours goes without."""
    import torch

    monkeypatch.setattr(loss, "_PIECE", piece)  # 1: a piece for each token
    model = _model(base_model)
    batch = _batch(model.config.vocab_size)
    whole = model(**batch).loss
    expected = _gradients(model, whole * 12)
    total, tokens = sum_completion_loss(model, batch, head=model.get_output_embeddings(), fused=fused)
    assert tokens == 12
    assert (total / tokens).item() == pytest.approx(whole.item(), abs=1e-6)
    found = _gradients(model, total)
    assert expected.keys() == found.keys()
    assert len(found) > 8
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5)


def test_the_head_is_left_as_it_was(base_model: Path) -> None:
    import torch

    model = _model(base_model)
    batch = _batch(model.config.vocab_size)
    before = model(batch["input_ids"]).logits
    sum_completion_loss(model, batch, head=model.get_output_embeddings(), fused=True)
    assert torch.equal(model(batch["input_ids"]).logits, before)


def test_a_batch_without_loss_gives_nothing_and_no_gradient(base_model: Path) -> None:
    model = _model(base_model)
    batch = _batch(model.config.vocab_size)
    batch["labels"][:] = IGNORED
    for fused in (True, False):
        total, tokens = sum_completion_loss(model, batch, head=model.get_output_embeddings(), fused=fused)
        assert (total.item(), tokens.item()) == (0.0, 0)
        assert not any(gradient.any() for gradient in _gradients(model, total).values())


def test_a_model_that_changes_its_logits_or_trains_its_head_is_not_fused(base_model: Path) -> None:
    """Gemma 2 caps its logits, Granite divides them; each of these is such a one, with random weights."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

    assert can_fuse(_model(base_model).get_base_model())
    trained = load_model(base_spec(base_model)).train()
    assert not can_fuse(trained)
    assert trained.training
    small: dict[str, Any] = {
        "vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    for model in (
        Gemma2ForCausalLM(Gemma2Config(**small, final_logit_softcapping=2.0)),
        GraniteForCausalLM(GraniteConfig(**small, logits_scaling=4.0)),
    ):
        model.requires_grad_(False)
        assert not can_fuse(model)
        batch = _batch(64)
        total, tokens = sum_completion_loss(model, batch, head=model.get_output_embeddings(), fused=False)
        with torch.no_grad():
            assert (total / tokens).item() == pytest.approx(model(**batch).loss.item(), abs=1e-5)
