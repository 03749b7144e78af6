"""Log-probabilities that a model gives to completions, and from them perplexity.

Only the completion counts, its end token included, never the prompt: exp(sum of nats / sum of tokens) over all rows, so
that a long answer weighs more than a short one. Prompt and completion are tokenised apart and joined, because that is
what the model sees when it answers; tokenising them together could merge tokens across the seam. Rows longer than the
model's room are left out and counted, never cut: a cut completion has another perplexity. Batches are sorted by length
and padded on the right, where causal attention cannot see the padding; logits are asked for the completion's positions
only (a vocabulary of 128,000 in float32 is what fills memory) and turned into log-probabilities in float32 whatever the
weights' type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.progress import ProgressCallback
from flytewheel.records import Message


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a prompt with the opening of the assistant's turn, and of the completion with its end token."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Summed log-probability of a completion in nats, over so many tokens."""

    logprob_nats: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token in nats."""
        return self.logprob_nats / self.tokens


def encode_prompt(tokenizer: Any, prompt: Sequence[Message]) -> tuple[int, ...]:
    """Token ids of the rendered prompt up to where the assistant begins to speak.

    The template writes the special tokens, a beginning-of-text one too, so the tokenizer is told to add none.
    """
    turns = [message.model_dump() for message in prompt]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(tokenizer: Any, prompt: Sequence[Message], completion: str) -> Encoded:
    """Token ids of a prompt and an answer to it, which ends with the tokenizer's end token."""
    answer = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return Encoded(encode_prompt(tokenizer, prompt), (*answer, tokenizer.eos_token_id))


def score_completions(
    model: Any,
    rows: Sequence[Encoded],
    *,
    batch_size: int,
    pad_id: int,
    progress: ProgressCallback | None = None,
    what: str = "scoring",
) -> list[Score]:
    """Scores each completion given its prompt.

    Args:
        model: A causal language model in evaluation mode.
        rows: In any order; prompts must not be empty.
        batch_size: Rows at a time, neighbours in length.
        pad_id: Fills short rows; it is masked, so any token will do.
        progress: Told rows done and in all.
        what: The name under which progress is told.

    Returns:
        A score a row, in the order given. Not finite where the model's output is not.
    """
    import torch

    scores: list[Score] = [Score(float("nan"), len(row.completion)) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index].prompt) - len(rows[index].completion))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        sequences = [rows[index].prompt + rows[index].completion for index in chosen]
        longest = max(map(len, sequences))
        ids = torch.tensor([[*line, *[pad_id] * (longest - len(line))] for line in sequences], device=model.device)
        mask = torch.tensor([[1] * len(line) + [0] * (longest - len(line)) for line in sequences], device=model.device)
        first = min(len(rows[index].prompt) for index in chosen) - 1  # its logits predict the first completion token
        with torch.inference_mode():
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                use_cache=False,
                logits_to_keep=torch.arange(first, longest - 1, device=model.device),
            ).logits
            for line, index in enumerate(chosen):
                row = rows[index]
                begin = len(row.prompt) - 1 - first
                kept = logits[line, begin : begin + len(row.completion)].float()
                target = torch.tensor(row.completion, device=model.device)
                nats = torch.nn.functional.cross_entropy(kept, target, reduction="none").double().sum()
                scores[index] = Score(-float(nats), len(row.completion))
        if progress is not None:
            progress(what, min(start + batch_size, len(order)), len(order))
    return scores
