from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.models import load_model
from flytewheel.training.head import head_at_answers
from tests.training.teaching import base_spec


def _score(model: Any, seen: list[int]) -> tuple[Any, Any]:
    """Log-probabilities of two rows of 9 and 6 tokens with answers of 4 and 2, and the gradient of their sum."""
    import torch

    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13], [5, 6, 7, 8, 9, 10, 0, 0, 0]])
    labels = torch.full_like(ids, -100)
    labels[0, 5:] = ids[0, 5:]
    labels[1, 4:6] = ids[1, 4:6]
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    seen.clear()
    output = model(inputs_embeds=embedded, attention_mask=(ids > 0).long(), labels=labels, fused_lm_head=True)
    output.log_probs.sum().backward()
    return output.log_probs.detach(), embedded.grad


def test_the_head_scores_answers_only_and_to_the_same_values(base_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from trl.trainer import utils

    model: Any = load_model(base_spec(base_model))
    utils.add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    seen: list[int] = []
    kernel: Any = utils._ChunkedLogProbFunction  # type: ignore[attr-defined,unused-ignore]

    class Counted:
        @staticmethod
        def apply(hidden: Any, *more: Any) -> Any:
            seen.append(len(hidden))
            return kernel.apply(hidden, *more)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Counted)
    everywhere, gradient = _score(model, seen)
    assert seen == [16]  # 2 rows of 9, less the last position of each
    with head_at_answers():
        answers, same_gradient = _score(model, seen)
        assert seen == [6]
    assert torch.allclose(answers, everywhere, atol=1e-5)
    assert int((answers != 0).sum()) == 6
    assert torch.allclose(same_gradient, gradient, atol=1e-5)

    with pytest.raises(KeyError), head_at_answers():
        raise KeyError
    _score(model, seen)
    assert seen == [16]
