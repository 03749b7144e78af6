"""Whether a file's greedy answers are the trained weights' own, and end as theirs do.

llama.cpp answers each held-out prompt greedily; transformers reads prompt and answer in one pass, and its best token at
every position should be the one that llama.cpp wrote. Up to the first difference that is the same as letting both write
(by induction: same tokens before, same best token next), at a fraction of the time; after one it still compares like
with like. A difference counts where the weights hold their own token better by more than rounding can move it
(`divergence.TIES` times the largest change that rounding made to any lead); nearer ones are reported as near ties.

- An answer that goes on where the weights end it, or ends where they go on, is named as a wrong stop.
- An answer that loops is a fault of the file where the weights, left to themselves from the first difference on, do not
  loop as well. Weights that loop are the evaluation's business; the report counts them.
- An end token spelled out as text is one that no server stops at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.parity.report import GreedyAnswer, NearTie
from flytewheel.export.parity.tokens import Prompt
from flytewheel.loops import is_looping


@dataclass(frozen=True, slots=True)
class Preference:
    """The token that the weights hold best in a place, and by how much they prefer it to what was written."""

    token: int
    gap_logits: float


def check_answers(
    where: str,
    llama: Any,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    written: Sequence[list[int]],
    *,
    max_tokens: int,
    ends: set[int],
    tie_logits: float,
    read: dict[tuple[int, ...], list[Preference]],
) -> list[GreedyAnswer]:
    """Lets the trained weights judge a file's answers.

    Args:
        where: The file's name.
        llama: The open file.
        model: The trained weights in transformers.
        tokenizer: Theirs.
        prompts: That were answered.
        written: The answers' ids (`llamacpp.write_greedily`).
        max_tokens: Of an answer.
        ends: Ids that end one.
        tie_logits: Up to here a difference is a near tie.
        read: What the weights prefer, by prompt and answer; files that answer alike share it.

    Raises:
        ExportError: an answer differs, stops wrongly, loops or spells out its end token; the first place is named.
    """
    answers = []
    for prompt, ids in zip(prompts, written, strict=True):
        here = f"{where}: {prompt.name}"
        key = (*prompt.ids, -1, *ids)
        if key not in read:
            read[key] = _list_preferences(model, prompt.ids, ids)
        ties = _find_ties(here, tokenizer, read[key], ids, ends, tie_logits)
        ended = ids[-1] in ends
        text = _check_text(here, llama, tokenizer, ids[:-1] if ended else ids, ends, bool(ties))
        loops = is_looping(text, ended=ended)
        if loops and ties:
            own = _write_on(model, [*prompt.ids, *ids[: ties[0].position]], max_tokens - ties[0].position, ends)
            whole = [*ids[: ties[0].position], *own]
            stopped = whole[-1] in ends
            if not is_looping(tokenizer.decode(whole[:-1] if stopped else whole), ended=stopped):
                raise ExportError(
                    f"{here}: the answer loops and the trained weights' does not, from token {ties[0].position} on "
                    f"({ties[0].reference} for transformers, {ties[0].file} for llama.cpp); serve a larger kind"
                )
        answers.append(GreedyAnswer(len(ids), ended, loops, ties))
    return answers


def _list_preferences(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> list[Preference]:
    """What the weights would have written in each place of an answer, read in one pass."""
    import torch

    with torch.inference_mode():
        read = torch.tensor([[*prompt, *answer[:-1]]])
        logits = model(input_ids=read, logits_to_keep=len(answer), use_cache=False).logits[0].float()
    best = logits.argmax(dim=-1)
    gaps = logits.gather(-1, best[:, None]) - logits.gather(-1, torch.tensor(list(answer))[:, None])
    return [Preference(token, gap) for token, gap in zip(best.tolist(), gaps[:, 0].tolist(), strict=True)]


def _find_ties(
    where: str,
    tokenizer: Any,
    preferences: Sequence[Preference],
    answer: Sequence[int],
    ends: set[int],
    tie_logits: float,
) -> tuple[NearTie, ...]:
    """Where the weights prefer another token than the one written; beyond the tie that is an error."""
    ties = []
    for at, (preference, written) in enumerate(zip(preferences, answer, strict=True)):
        own, gap = preference.token, preference.gap_logits
        if own == written:
            continue
        if not gap <= tie_logits:  # NaN is no tie
            said = f"{own} {tokenizer.decode([own])!r} for transformers but {written} {tokenizer.decode([written])!r}"
            raise ExportError(
                f"{where}: token {at} of the answer is {said} for llama.cpp, {gap:.3g} logits apart (at most "
                f"{tie_logits:.2g}): {_explain(own in ends, written in ends)}"
            )
        ties.append(NearTie(at, own, written, gap))
    return tuple(ties)


def _explain(should_end: bool, ended: bool) -> str:
    if should_end and not ended:
        return "it goes on where the trained weights stop"
    if ended and not should_end:
        return "it stops where the trained weights go on"
    return "a tensor, its order or the rotary base is wrong"


def _check_text(where: str, llama: Any, tokenizer: Any, ids: Sequence[int], ends: set[int], tied: bool) -> str:
    """The answer's text, the same for both, and without a spelled-out end token that the weights would not write."""
    own = str(tokenizer.decode(ids))
    other = str(llama.detokenize(list(ids), special=True).decode(errors="replace"))
    if own != other:
        at = next((at for at, (one, two) in enumerate(zip(own, other, strict=False)) if one != two), len(own))
        raise ExportError(
            f"{where}: the same tokens of an answer are other text for llama.cpp, from letter {at} on: "
            f"{own[at : at + 12]!r} for the tokenizer, {other[at : at + 12]!r} for llama.cpp"
        )
    spelled = [tokenizer.decode([end]) for end in sorted(ends) if tokenizer.decode([end]) in other]
    if tied and any(spelled):
        raise ExportError(f"{where}: the answer spells out the end token {spelled[0]!r} as text instead of stopping")
    return other


def _write_on(model: Any, ids: list[int], tokens: int, ends: set[int]) -> list[int]:
    """The trained weights' own greedy continuation; read anew at each token, for it is rarely asked for."""
    import torch

    found: list[int] = []
    with torch.inference_mode():
        while len(found) < max(1, tokens) and not (found and found[-1] in ends):
            logits = model(input_ids=torch.tensor([[*ids, *found]]), logits_to_keep=1, use_cache=False).logits
            found.append(int(logits[0, -1].argmax()))
    return found
