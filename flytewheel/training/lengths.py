"""How many tokens rows have, each as the sequences that go through the model: one of SFT and KTO, two of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.records import Preference
from flytewheel.training.rows import encode


@dataclass(frozen=True, slots=True)
class RowLength:
    """Of one row: `tokens` of its sequences, the longest of them, and tokens with loss."""

    tokens: int
    longest: int
    loss_tokens: int
    sequences: int


def measure_rows(
    method: str, rows: Sequence[Any], tokenizer: Any, max_length: int
) -> tuple[list[RowLength | None], int]:
    """Lengths of rows, `None` for one that is left out, and how many do not fit into `max_length` (SFT cuts their end).

    Args:
        method: `sft`, `dpo` or `kto`.
        rows: `SftRow`, `Preference` or `Unpaired` records.
        tokenizer: Of the base model.
        max_length: Tokens of a sequence at most.
    """
    found, too_long = list[RowLength | None](), 0
    for row in rows:
        answers = (row.chosen, row.rejected) if isinstance(row, Preference) else (row.completion,)
        pieces = [encode(tokenizer, row.prompt, answer) for answer in answers]
        sizes = [len(prompt) + len(answer) for prompt, answer in pieces]
        if max(sizes) > max_length:
            too_long += 1
            if method != "sft" or len(pieces[0][0]) >= max_length:
                found.append(None)
                continue
            sizes = [max_length]
        prompts = [len(prompt) for prompt, _ in pieces]
        loss = sum(size - prompt for size, prompt in zip(sizes, prompts, strict=True))
        found.append(RowLength(sum(sizes), max(sizes), loss, len(sizes)))
    return found, too_long


def longest_sequence(rows: Sequence[Any], tokenizer: Any, max_length: int) -> int:
    """Tokens of the longest sequence that is trained on; at most `max_length`."""
    lengths, _ = measure_rows("", rows, tokenizer, max_length)
    return max((row.longest for row in lengths if row is not None), default=max_length)
