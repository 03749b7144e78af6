"""Packed rows: each counts as if it were alone, whatever lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.models import load_model
from flytewheel.training.packing import pack_rows
from flytewheel.training.rows import IGNORED
from flytewheel.training.sequences import Sequences, collate
from tests.training.teaching import base_spec

LENGTHS = (5, 9, 3, 12, 7, 4)


def _table(*, changed: int | None = None) -> Any:
    """Rows of random tokens, the last two of each with loss; `changed` has other tokens."""
    import random

    from datasets import Dataset

    records = []
    for row, length in enumerate(LENGTHS):
        chance = random.Random(row if row != changed else 99)
        ids = [chance.randrange(200) for _ in range(length)]
        records.append({"input_ids": ids, "labels": [IGNORED] * (length - 2) + ids[-2:], "length": length})
    return Dataset.from_list(records)


def _losses(model: Any, batch: Any) -> Any:
    """Loss of each token of a batch, (batch, seq - 1), 0 where there is none."""
    from torch.nn.functional import cross_entropy

    own = {name: value for name, value in batch.items() if name not in ("labels", "attention_mask")}
    logits = model(**own, use_cache=False).logits[:, :-1]
    return cross_entropy(logits.transpose(1, 2), batch["labels"][:, 1:], reduction="none", ignore_index=IGNORED)


def _row_losses(model: Any, table: Any, packed: list[tuple[int, ...]] | None) -> dict[int, Any]:
    """The two losses of each row, from one batch of all sequences."""
    sequences = Sequences(table, packed)
    batch = collate(0)([sequences[at] for at in range(len(sequences))])
    losses = _losses(model, batch)
    found = {}
    for at, rows in enumerate(packed or [(row,) for row in range(len(LENGTHS))]):
        end = 0
        for row in rows:
            end += LENGTHS[row]
            found[row] = losses[at, end - 3 : end - 1]
    assert sum(losses.ne(0).flatten()) == 2 * len(LENGTHS)
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_packed_row_has_the_loss_that_it_has_alone(attention: str, base_model: Path) -> None:
    import torch

    model = load_model(base_spec(base_model, attention=attention))
    assert model.config._attn_implementation == attention
    packed = pack_rows(LENGTHS, 16, seed=1)
    assert max(map(len, packed)) > 1
    assert len({sum(LENGTHS[row] for row in rows) for rows in packed}) > 1  # some sequences are padded
    with torch.no_grad():
        together = _row_losses(model, _table(), packed)
        alone = _row_losses(model, _table(), None)
        ones = {}
        for row, record in enumerate(_table()):
            ids = torch.tensor([record["input_ids"]])
            ones[row] = _losses(model, {"input_ids": ids, "labels": torch.tensor([record["labels"]])})[0, -2:]
    for row, expected in ones.items():
        torch.testing.assert_close(together[row], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(alone[row], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_another_neighbour_changes_nothing(attention: str, base_model: Path) -> None:
    import torch

    model = load_model(base_spec(base_model, attention=attention))
    packed = [(0, 1, 2), (3,), (4, 5)]
    with torch.no_grad():
        before = _row_losses(model, _table(), packed)
        after = _row_losses(model, _table(changed=1), packed)
    changed = {row for row in before if not torch.allclose(before[row], after[row], atol=1e-6)}
    assert changed == {1}


def test_without_positions_neighbours_would_be_seen(base_model: Path) -> None:
    """What the tests above would miss if they could not see it."""
    import torch

    model = load_model(base_spec(base_model))
    sequences = Sequences(_table(), [(0, 1), (2, 3), (4, 5)])
    batch = collate(0)([sequences[at] for at in range(3)])
    with torch.no_grad():
        right = _losses(model, batch)
        del batch["position_ids"]
        wrong = _losses(model, batch)
    assert (right - wrong).abs().max() > 0.01


def test_no_loss_crosses_a_border() -> None:
    """Rows whose first token carries loss, as none of ours does: the border is masked all the same."""
    from datasets import Dataset

    table = Dataset.from_list([{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}, {"input_ids": [4, 5], "labels": [4, 5]}])
    sequences = Sequences(table, [(0, 1)])
    batch = collate(9)([sequences[0]])
    assert batch["labels"].tolist() == [[IGNORED, 2, 3, IGNORED, 5]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert (sequences.lengths, sequences.loss_lengths) == ([5], [3])


def test_batches_are_padded_at_their_end() -> None:
    sequences = Sequences(_table())
    batch = collate(7)([sequences[2], sequences[0]])
    assert batch["input_ids"].shape == (2, 5)
    assert batch["input_ids"][0, 3:].tolist() == [7, 7]
    assert batch["labels"][0].tolist() == [IGNORED, *sequences[2]["labels"][1:], IGNORED, IGNORED]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert "position_ids" not in batch  # nothing to tell apart: torch's causal kernel needs no mask
