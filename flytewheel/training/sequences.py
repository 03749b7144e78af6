"""Tokenised rows as a trainer draws them: sequences of one row, or of several packed ones, and batches of them.

The attention mask only tells what is padding; the loss does not hand it to the model (`loss`). A batch is padded at
its end, and a causal model's tokens never look there, so a mask changes nothing but the speed: without one torch takes
its causal kernel and never writes out a (seq, seq) mask. Packed rows are told apart by `position_ids`, which start
again at 0 with each row: from these transformers builds a block-diagonal mask, for sdpa as for eager attention
(`masking_utils.find_packed_sequence_indices`, only where no attention mask is given).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flytewheel.training.batches import Batch
from flytewheel.training.rows import IGNORED


class Sequences:
    """A map-style data set of `input_ids`, `labels` and `row_lengths`, each an array of one sequence.

    The first token of a row never carries loss: the token before it belongs to another row.

    Args:
        table: with `input_ids` and `labels`, a row each.
        packed: which rows make a sequence; `None`: each row is one.

    Attributes:
        lengths: tokens of each sequence.
        loss_lengths: tokens of each that carry loss.
    """

    def __init__(self, table: Any, packed: Sequence[Batch] | None = None) -> None:
        import numpy as np

        rows = table.with_format("arrow")[:]
        self._ids, self._labels = (
            rows[name].combine_chunks().flatten().to_numpy().astype(np.int64) for name in ("input_ids", "labels")
        )
        counts = rows["input_ids"].combine_chunks().value_lengths().to_numpy()
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._labels[self._starts[:-1]] = IGNORED
        self._packed = [(row,) for row in range(len(counts))] if packed is None else list(packed)
        with_loss = np.concatenate([[0], np.cumsum(self._labels != IGNORED)])
        losses = with_loss[self._starts[1:]] - with_loss[self._starts[:-1]]
        self.lengths = [int(sum(counts[row] for row in rows)) for rows in self._packed]
        self.loss_lengths = [int(sum(losses[row] for row in rows)) for rows in self._packed]

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, number: int) -> dict[str, Any]:
        import numpy as np

        spans = [slice(self._starts[row], self._starts[row + 1]) for row in self._packed[number]]
        return {
            "input_ids": np.concatenate([self._ids[span] for span in spans]),
            "labels": np.concatenate([self._labels[span] for span in spans]),
            "row_lengths": [int(span.stop - span.start) for span in spans],
        }


def lay_out(pad_id: int, *, flat: bool) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Makes the collator: flat where attention takes rows so (`row_attention.take_rows_flat`), else padded."""
    return join if flat else collate(pad_id)


def join(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Lays all rows of a batch one after the other, (1, tokens), without padding.

    Besides what `collate` gives, `cu_seq_lens_q` and `max_length_q` tell where rows begin, and how long the longest is,
    in the words that transformers hands down to attention; the same of keys.
    """
    import numpy as np
    import torch

    lengths = torch.tensor([length for item in items for length in item["row_lengths"]])
    starts = torch.cat([torch.zeros(1, dtype=torch.int32), lengths.cumsum(0).to(torch.int32)])
    ids, labels = (
        torch.from_numpy(np.concatenate([item[name] for item in items]))[None] for name in ("input_ids", "labels")
    )
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": torch.ones_like(ids),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "cu_seq_lens_q": starts,
        "cu_seq_lens_k": starts,
        "max_length_q": int(lengths.max()),
        "max_length_k": int(lengths.max()),
    }


def collate(pad_id: int) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Makes the function that pads sequences to the longest of their batch.

    Its result holds `input_ids`, `labels`, `attention_mask` (batch, seq) and, where a sequence has several rows,
    `position_ids`.
    """

    def pad(items: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        shape = (len(items), max(len(item["input_ids"]) for item in items))
        batch = {"input_ids": torch.full(shape, pad_id), "labels": torch.full(shape, IGNORED)}
        batch["attention_mask"] = torch.zeros(shape, dtype=torch.long)
        positions = torch.zeros(shape, dtype=torch.long)
        for number, item in enumerate(items):
            end = len(item["input_ids"])
            for name in ("input_ids", "labels"):
                batch[name][number, :end] = torch.from_numpy(item[name])
            batch["attention_mask"][number, :end] = 1
            start = 0
            for length in (*item["row_lengths"], shape[1] - end):  # what pads is told apart like a row
                positions[number, start : start + length] = torch.arange(length)
                start += length
        if any(len(item["row_lengths"]) > 1 for item in items):
            batch["position_ids"] = positions
        return batch

    return pad
