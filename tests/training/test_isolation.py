from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.errors import RecipeError
from flytewheel.models import load_model
from flytewheel.training.isolation import check_rows_stay_apart
from flytewheel.training.row_attention import NAME, use_rows
from flytewheel.training.sequences import collate, join
from tests.training.teaching import base_spec


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_keeps_rows_apart(attention: str, base_model: Path) -> None:
    model = load_model(base_spec(base_model, attention=attention)).train()
    check_rows_stay_apart(model, collate(0))
    assert model.training


def test_attention_by_rows_keeps_them_apart_and_wants_their_lengths(base_model: Path) -> None:
    model = load_model(base_spec(base_model))
    use_rows(model)
    check_rows_stay_apart(model, join)
    with pytest.raises(RecipeError, match=f"'llama' with '{NAME}' attention lets rows"):
        check_rows_stay_apart(model, collate(0))  # it builds no mask from positions


def test_a_recurrent_model_is_refused() -> None:
    """Mamba's state runs on from row to row; the weights are random, the architecture is real."""
    from transformers import MambaConfig, MambaForCausalLM

    model: Any = MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4))
    for weight in model.parameters():
        weight.data.normal_(std=0.3)
    with pytest.raises(RecipeError, match=r"training\.packing: 'mamba' .* set training\.packing: false"):
        check_rows_stay_apart(model, collate(0))
