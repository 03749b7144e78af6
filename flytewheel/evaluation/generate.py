"""Answers in batches, greedy unless a temperature is asked for.

Greedy, because two models are compared on the same prompts and sampling would add noise that neither of them is. The
loop is our own: transformers' `generate` takes over whatever a model's generation config holds (repetition penalties,
sampling), which differs from what is served, and keeps computing rows that have ended; here a finished row leaves the
batch. Prompts are padded on the left with a mask and their own position ids, so the first new token sits at the same
column for all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from flytewheel.progress import ProgressCallback


class Spoken(NamedTuple):
    """New token ids of an answer, without the end token; `ended` by an end token, not by the limit."""

    tokens: list[int]
    ended: bool


def find_end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's end token and those of the model's generation config."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = {tokenizer.eos_token_id}
    ends.update(configured if isinstance(configured, list | tuple) else [configured])
    return frozenset(int(token) for token in ends if token is not None)


def find_special_tokens(tokenizer: Any) -> frozenset[int]:
    """Tokens that decoding leaves out of a text: markers of turns, of beginnings and ends. Not the unknown token, which
    stands for text."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {token for token, said in added.items() if getattr(said, "special", False)}
    return frozenset(special | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id}


def generate_answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    end_tokens: Collection[int],
    pad_id: int,
    temperatures: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    progress: ProgressCallback | None = None,
    what: str = "answering",
) -> list[Spoken]:
    """Continues each prompt until an end token or the limit.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids, in any order; none may be empty.
        max_new_tokens: The limit for each answer.
        batch_size: Prompts at a time, neighbours in length.
        end_tokens: Any of them ends an answer.
        pad_id: Fills short prompts; it is masked.
        temperatures: Of each prompt; 0, and none given: greedy.
        seeds: Of each prompt's draws, which do not depend on what else is in the batch.
        progress: Told prompts done and in all.
        what: The name under which progress is told.

    Returns:
        An answer a prompt, in the order given.
    """
    import torch
    from transformers import DynamicCache

    answers: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    draws = {
        index: torch.Generator().manual_seed(seeds[index] if seeds else index)
        for index, temperature in enumerate(temperatures or ())
        if temperature > 0
    }
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for start in range(0, len(order), batch_size):
        running = order[start : start + batch_size]
        longest = len(prompts[running[0]])
        padding = [longest - len(prompts[index]) for index in running]
        pairs = list(zip(padding, (prompts[index] for index in running), strict=True))
        ids = torch.tensor([[pad_id] * gap + list(prompt) for gap, prompt in pairs], device=model.device)
        mask = torch.tensor([[0] * gap + [1] * len(prompt) for gap, prompt in pairs], device=model.device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        cache = DynamicCache(config=model.config)
        with torch.inference_mode():
            for step in range(max_new_tokens):
                logits = model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits
                last = logits[:, -1]
                new = last.argmax(dim=-1)
                for line, index in enumerate(running):
                    if temperatures is not None and index in draws:
                        new[line] = _draw(last[line], temperatures[index], draws[index])
                tokens = new.tolist()
                for index, token in zip(running, tokens, strict=True):
                    if token in end_tokens:
                        ended[index] = True
                    else:
                        answers[index].append(token)
                going = [line for line, token in enumerate(tokens) if token not in end_tokens]
                if not going or step + 1 == max_new_tokens:
                    break
                positions = positions[:, -1:] + 1
                if len(going) < len(running):
                    kept = torch.tensor(going, device=model.device)
                    cache.batch_select_indices(kept)
                    new, mask, positions = new[kept], mask[kept], positions[kept]
                    running = [running[line] for line in going]
                ids = new[:, None]
                mask = torch.cat([mask, mask.new_ones(len(running), 1)], dim=1)
        if progress is not None:
            progress(what, min(start + batch_size, len(order)), len(order))
    return [Spoken(*pair) for pair in zip(answers, ended, strict=True)]


def _draw(logits: Any, temperature: float, generator: Any) -> int:
    """A token at `temperature` from (vocabulary,) logits, drawn on the CPU so that every device draws alike."""
    import torch

    shares = torch.softmax(logits.float().cpu() / temperature, dim=-1)
    return int(torch.multinomial(shares, 1, generator=generator))
