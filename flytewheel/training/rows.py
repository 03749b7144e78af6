"""Rows of a frozen data set, as the trainers take them.

SFT rows are tokenised here, not by TRL, for two reasons: the loss must end with the answer's end token (TRL's own path
goes on to the newline that ChatML writes after it, a token that is never sampled), and what does not fit must be
counted. The prompt is rendered as at inference, with the opening of the assistant's turn; a template that renders the
two differently is met as TRL does: the completion starts where both renderings part. Preference rows stay
conversations: TRL tokenises them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flytewheel.records import Message, Preference, SftRow, Unpaired

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # label of a token without loss, as torch's cross-entropy has it


@dataclass(frozen=True, slots=True)
class RowSize:
    """Tokens of a row that is trained on: of its prompt, and of each answer to it (two of a pair).

    `at` is its place among the rows that were given.
    """

    at: int
    prompt: int
    answers: tuple[int, ...]

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence, to which a pair's other one is padded."""
        return self.prompt + max(self.answers)

    @property
    def tokens(self) -> int:
        """Of all its sequences."""
        return self.prompt * len(self.answers) + sum(self.answers)


@dataclass(frozen=True, slots=True)
class Rows:
    """A table for a trainer (`datasets.Dataset`; None: no row is left), how many rows did not fit, and what they lost.

    `lost_tokens` are those cut off in SFT, with all of the rows that were left out; in preferences those of the pairs
    and answers that were dropped, each pair by its longer side. `sizes` are those of the table's rows, in its order.
    """

    table: Any
    count: int
    truncated: int
    lost_tokens: int = 0
    sizes: tuple[RowSize, ...] = ()


def encode(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], completion: str
) -> tuple[list[int], list[int]]:
    """Tokenises a prompt and its completion by the chat template.

    Returns:
        The ids of the prompt, up to the opening of the assistant's turn, and those of the completion with its end
        token.
    """
    turns = [message.model_dump() for message in prompt]
    opening = _render(tokenizer, turns, add_generation_prompt=True)
    whole = _render(tokenizer, [*turns, {"role": "assistant", "content": completion}])
    shared = next((at for at, (a, b) in enumerate(zip(opening, whole, strict=False)) if a != b), None)
    start = min(len(opening), len(whole)) if shared is None else shared
    answer = whole[start:]
    specials = set(tokenizer.all_special_ids)
    end = next((at for at in range(len(answer), 0, -1) if answer[at - 1] in specials), len(answer))
    return whole[:start], answer[:end]


def sft_rows(rows: Sequence[SftRow], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Rows:
    """Turns SFT rows into `input_ids`, `labels` and `length`, loss on the completion only.

    A row longer than `max_length` tokens loses its end; one whose prompt alone fills it is left out. Both are counted.
    """
    records, sizes = [], []
    truncated = lost = 0
    for at, row in enumerate(rows):
        prompt, completion = encode(tokenizer, row.prompt, row.completion)
        whole = len(prompt) + len(completion)
        ids = [*prompt, *completion][:max_length]
        truncated += whole > max_length
        if len(ids) > len(prompt):
            labels = [IGNORED] * len(prompt) + ids[len(prompt) :]
            records.append({"input_ids": ids, "labels": labels, "length": len(ids)})
            sizes.append(RowSize(at, len(prompt), (len(ids) - len(prompt),)))
            lost += whole - len(ids)
        else:
            lost += whole
    return _table(records, truncated, lost, sizes)


def preference_rows(rows: Sequence[Preference], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Rows:
    """Turns pairs into conversational `prompt`, `chosen` and `rejected`.

    Pairs of which either side exceeds `max_length` tokens are dropped and counted: a cut answer would be compared by
    where it was cut.
    """
    records, sizes = [], []
    lost = 0
    for at, row in enumerate(rows):
        size = _measure(tokenizer, at, row.prompt, (row.chosen, row.rejected))
        if size.longest > max_length:
            lost += size.longest
        else:
            sizes.append(size)
            records.append(
                {
                    "prompt": [message.model_dump() for message in row.prompt],
                    "chosen": [{"role": "assistant", "content": row.chosen}],
                    "rejected": [{"role": "assistant", "content": row.rejected}],
                }
            )
    return _table(records, len(rows) - len(records), lost, sizes)


def unpaired_rows(rows: Sequence[Unpaired], tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int) -> Rows:
    """Turns judged answers into conversational `prompt`, `completion` and boolean `label`, in an order drawn by `seed`.

    KTO reads its rows in the order given (the KL term pairs neighbours), so the shuffle has to happen here. Rows longer
    than `max_length` tokens are dropped and counted.
    """
    measured = [_measure(tokenizer, at, row.prompt, (row.completion,)) for at, row in enumerate(rows)]
    sizes = [size for size in measured if size.longest <= max_length]
    random.Random(seed).shuffle(sizes)
    records = [
        {
            "prompt": [message.model_dump() for message in rows[size.at].prompt],
            "completion": [{"role": "assistant", "content": rows[size.at].completion}],
            "label": rows[size.at].label,
        }
        for size in sizes
    ]
    lost = sum(size.longest for size in measured if size.longest > max_length)
    return _table(records, len(rows) - len(records), lost, sizes)


def thin(rows: Sequence[Any], limit: int) -> Sequence[Any]:
    """Keeps at most `limit` rows, evenly spaced over the whole: a validation loss needs no more."""
    if len(rows) <= limit:
        return rows
    return [rows[index * len(rows) // limit] for index in range(limit)]


def _measure(tokenizer: PreTrainedTokenizerBase, at: int, prompt: Sequence[Message], answers: Sequence[str]) -> RowSize:
    # The whole rendering, with what the template writes after the end token: that is what TRL feeds the model.
    turns = [message.model_dump() for message in prompt]
    opening = len(_render(tokenizer, turns, add_generation_prompt=True))
    whole = [len(_render(tokenizer, [*turns, {"role": "assistant", "content": answer}])) for answer in answers]
    return RowSize(at, opening, tuple(length - opening for length in whole))


def _render(tokenizer: Any, turns: list[dict[str, str]], **options: Any) -> list[int]:
    return list(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, **options)["input_ids"])


def _table(records: list[dict[str, Any]], truncated: int, lost_tokens: int, sizes: Sequence[RowSize]) -> Rows:
    from datasets import Dataset

    table = Dataset.from_list(records) if records else None
    return Rows(table, len(records), truncated, lost_tokens, tuple(sizes))
