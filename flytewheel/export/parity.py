"""Whether the GGUF behaves as the trained weights: llama.cpp against transformers, on real prompts.

Three questions, in this order:

1. *Tokens.* llama.cpp tokenises each rendered chat, special tokens parsed and its own start token added if the file
   asks for one, as a server would. Every id must equal the tokenizer's.
2. *Greedy text of the F16 file.* llama.cpp answers greedily; transformers reads prompt and answer in one pass, in fp32
   on the same f16-rounded weights, and its best token at every position must be the one that llama.cpp wrote. Up to the
   first difference that is the same as letting both write (by induction: same tokens before, same best token next), at
   a fraction of the time; after one, it still compares like with like. A difference counts where transformers holds its
   own token for more than `tolerance` better, in logits: the F16 file keeps keys and values in f16, and tokens nearer
   than that are on a coin's edge; they are reported as near ties. The text must also decode the same. The mean KL
   divergence is bounded as well: a slightly wrong rotation can leave the best tokens of short answers alone.
3. *Quantised files.* Agreement on the best token and KL divergence over the same positions. Q8_0 has a bound; what
   smaller ones lose is reported, it does not fail the export.

Measured on the bundled model (20 prompts, 642 tokens): F16 wrote the same text everywhere, KL 8e-10 nats a token,
largest logit difference 0.008; Q8_0 top-1 100 %, KL 6e-7; Q4_K_M top-1 99.5 %, KL 1e-5. With q and k not reordered,
another rotary base, or two tensors exchanged, KL of F16 was 0.2 to 0.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.llamacpp import open_llama, read_logits, write_greedily
from flytewheel.records import Message

MAX_F16_KL = 1e-3  # nats a token; room for larger models, where f16 activations add up over more layers
MIN_TOP1 = {"Q8_0": 0.9}  # share of positions whose best token stays

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class NearTie:
    """A position where the F16 file prefers another token, by less than the tolerance."""

    position: int
    reference: str
    file: str
    gap_logits: float


@dataclass(frozen=True, slots=True)
class PromptParity:
    """One prompt: how many tokens it and its answer have, and where the best token was nearly another."""

    prompt: str
    answer: str
    prompt_tokens: int
    answer_tokens: int
    near_ties: tuple[NearTie, ...]


@dataclass(frozen=True, slots=True)
class FileParity:
    """One file over all answers. `top1` is a share of positions, the divergences are nats a token."""

    top1: float
    mean_kl_nats: float
    max_kl_nats: float
    largest_logit_difference: float
    positions: int


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What was compared, by file kind and by prompt."""

    prompts: tuple[PromptParity, ...]
    files: dict[str, FileParity]
    tolerance_logits: float
    max_tokens: int
    skipped_too_long: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """Token ids of a prompt and of the F16 file's greedy answer; logits are `(answer tokens, vocabulary)`."""

    text: str
    prompt_ids: list[int]
    ids: list[int]
    reference: Any
    file: Any


def check_parity(
    model: Any,
    tokenizer: Any,
    files: Mapping[str, Path],
    prompts: Sequence[tuple[Message, ...]],
    *,
    max_tokens: int,
    tolerance: float,
    threads: int = 1,
    progress: Progress | None = None,
) -> ParityReport:
    """Compares every file with the model.

    Args:
        model: The merged model, f16-rounded, in fp32 (see `merge`).
        tokenizer: Its tokenizer.
        files: Kind (F16, Q8_0 …) → GGUF. F16 must be among them.
        prompts: Conversations that end with the user's turn; those that leave no room for an answer are skipped.
        max_tokens: Greedy tokens compared for each prompt, fewer where the answer ends.
        tolerance: In logits; see the module.
        threads: Of llama.cpp.
        progress: Told after each prompt of each file.

    Raises:
        ExportError: tokens or greedy text differ, or a divergence is out of bounds; the first place is named.
    """
    room = int(model.config.max_position_embeddings) - max_tokens
    rendered = [_render(tokenizer, prompt) for prompt in prompts]
    tokenised = [(text, list(tokenizer(text, add_special_tokens=False)["input_ids"])) for text in rendered]
    fitting = [(text, ids) for text, ids in tokenised if 0 < len(ids) <= room]
    if not fitting:
        raise ExportError(
            f"parity: none of {len(prompts)} prompts leaves room for {max_tokens} tokens of answer; "
            "give shorter prompts or lower export.parity_tokens"
        )
    context = max(len(ids) for _, ids in fitting) + max_tokens
    told = progress or _silent
    answers, ties = [], []
    with open_llama(files["F16"], n_ctx=context, n_threads=threads, n_threads_batch=threads) as llama:
        for number, (text, ids) in enumerate(fitting):
            # `add_bos` only lets llama.cpp do what the file says.
            got = list(llama.tokenize(text.encode(), add_bos=True, special=True))
            if got != ids:
                where = f"{files['F16'].name}: prompt {number + 1}"
                raise ExportError(f"{where}: {_first_difference(tokenizer, ids, got)}")
        for number, (text, ids) in enumerate(fitting):
            answer = _answer(llama, model, tokenizer, text, ids, max_tokens)
            ties.append(_find_ties(f"{files['F16'].name}: prompt {number + 1}", llama, tokenizer, answer, tolerance))
            answers.append(answer)
            told("parity: F16", number + 1, len(fitting))
    found = {"F16": _measure("F16", files["F16"], answers, [answer.file for answer in answers])}
    for kind, path in files.items():
        if kind == "F16":
            continue
        with open_llama(path, n_ctx=context, n_threads=threads, n_threads_batch=threads) as llama:
            read = []
            for number, answer in enumerate(answers):
                read.append(read_logits(llama, answer.prompt_ids, answer.ids))
                told(f"parity: {kind}", number + 1, len(answers))
        found[kind] = _measure(kind, path, answers, read)
    return ParityReport(
        prompts=tuple(
            PromptParity(answer.text, tokenizer.decode(answer.ids), len(answer.prompt_ids), len(answer.ids), near)
            for answer, near in zip(answers, ties, strict=True)
        ),
        files=found,
        tolerance_logits=tolerance,
        max_tokens=max_tokens,
        skipped_too_long=len(prompts) - len(fitting),
    )


def _render(tokenizer: Any, prompt: Sequence[Message]) -> str:
    messages = [message.model_dump() for message in prompt]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _first_difference(tokenizer: Any, expected: list[int], got: list[int]) -> str:
    pairs = zip(expected, got, strict=False)
    at = next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(expected), len(got)))

    def tell(ids: list[int]) -> str:
        return f"{ids[at]} {tokenizer.decode([ids[at]])!r}" if at < len(ids) else "no token"

    return (
        f"token {at} is {tell(expected)} for the tokenizer but {tell(got)} for llama.cpp; "
        "its pre-tokenizer, special tokens or start token are not those of the model"
    )


def _answer(llama: Any, model: Any, tokenizer: Any, text: str, prompt_ids: list[int], max_tokens: int) -> _Answer:
    import torch

    ends = model.generation_config.eos_token_id
    ends = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id}
    ids, file_logits = write_greedily(llama, prompt_ids, max_tokens, ends)
    with torch.no_grad():
        read = torch.tensor([[*prompt_ids, *ids[:-1]]])
        reference = model(input_ids=read, logits_to_keep=len(ids)).logits[0].float().numpy()
    return _Answer(text, prompt_ids, ids, reference, file_logits)


def _find_ties(where: str, llama: Any, tokenizer: Any, answer: _Answer, tolerance: float) -> tuple[NearTie, ...]:
    """Where transformers prefers another token than the one written; beyond the tolerance that is an error."""
    ties = []
    for at, (token, logits) in enumerate(zip(answer.ids, answer.reference, strict=True)):
        best = int(logits.argmax())
        if best == token:
            continue
        gap = float(logits[best] - logits[token])
        texts = tokenizer.decode([best]), tokenizer.decode([token])
        if not gap <= tolerance:  # NaN is no tie
            raise ExportError(
                f"{where}: token {at} of the answer is {best} {texts[0]!r} for transformers but {token} {texts[1]!r} "
                f"for llama.cpp, {gap:.3g} logits apart (at most {tolerance:g}): "
                "a tensor, its order or the rotary base is wrong"
            )
        ties.append(NearTie(at, *texts, gap))
    own, other = tokenizer.decode(answer.ids), llama.detokenize(answer.ids, special=True).decode(errors="replace")
    if own != other:
        raise ExportError(f"{where}: the same tokens are {own!r} for the tokenizer but {other!r} for llama.cpp")
    return tuple(ties)


def _measure(kind: str, path: Path, answers: Sequence[_Answer], read: Sequence[Any]) -> FileParity:
    """Holds a file's logits against the reference, and its figures against the bounds."""
    import numpy as np

    reference, got = np.concatenate([answer.reference for answer in answers]), np.concatenate(read)
    if not np.isfinite(got).all():
        raise ExportError(f"{path.name}: llama.cpp computes logits that are not finite; the weights are broken")
    nats = _divergence(reference, got)
    found = FileParity(
        top1=float((reference.argmax(axis=1) == got.argmax(axis=1)).mean()),
        mean_kl_nats=float(nats.mean()),
        max_kl_nats=float(nats.max()),
        largest_logit_difference=float(np.abs(reference - got).max()),
        positions=len(nats),
    )
    if kind == "F16" and found.mean_kl_nats > MAX_F16_KL:
        raise ExportError(
            f"{path.name}: its distributions differ from the trained weights by {found.mean_kl_nats:.2g} nats a token "
            f"(at most {MAX_F16_KL:g}): a tensor, its order or the rotary base is wrong"
        )
    if found.top1 < MIN_TOP1.get(kind, 0.0):
        raise ExportError(
            f"{path.name}: only {found.top1:.1%} of the best tokens are those of the trained weights "
            f"(at least {MIN_TOP1[kind]:.0%}): serve a larger kind"
        )
    return found


def _divergence(reference: Any, got: Any) -> Any:
    """KL(reference ‖ got) in nats at each position, from two arrays of logits `(positions, vocabulary)`."""
    import numpy as np

    def log_softmax(logits: Any) -> Any:
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    one, other = log_softmax(reference), log_softmax(got)
    return (np.exp(one) * (one - other)).sum(axis=1)


def _silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody wants to see."""
