"""The parity gate as a whole: tokens, numbers, distributions, greedy answers, of every file against the trained weights.

One model is in memory at a time, in fp32: the base first, for what rounding costs it; then the trained weights, which
are rounded in place as each file says and are put back for the greedy answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.llamacpp import open_llama, read_logits
from flytewheel.export.parity import divergence, numbers
from flytewheel.export.parity.divergence import Gap, Noise
from flytewheel.export.parity.greedy import check_answers
from flytewheel.export.parity.numbers import FileTensor
from flytewheel.export.parity.reference import (
    Head,
    Pass,
    computing_as,
    load_trained,
    read_head,
    read_texts,
)
from flytewheel.export.parity.report import FileParity, GreedyAnswer, ParityReport, PromptParity, TextParity
from flytewheel.export.parity.tokens import Prompt, check_tokens, find_ends, render, render_prompts, tokenize
from flytewheel.export.source import open_source
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import Message

LEAST_TIE = 1e-3  # logits; nearer ones are on a coin's edge in any arithmetic

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class _Measured:
    """A file's distributions, by text, beside what they may be."""

    found: tuple[Gap, ...]
    executed: tuple[Gap, ...]
    noise: Noise
    base: Noise
    worst_block: float

    @property
    def tie_logits(self) -> float:
        return max(LEAST_TIE, divergence.TIES * self.noise.lead)


def check_parity(
    base: BaseModelSpec,
    trained: Path | None,
    tokenizer: Any,
    files: Mapping[str, Path],
    conversations: Sequence[tuple[Message, ...]],
    *,
    spec: ExportSpec,
    threads: int = 1,
    progress: Progress | None = None,
) -> ParityReport:
    """Compares every file with the trained weights.

    Args:
        base: The base model.
        trained: What was trained on it, an adapter or full weights; None for the bare base.
        tokenizer: Its tokenizer.
        files: Kind (F16, Q8_0 …) → GGUF, at least one.
        conversations: Held-out ones that end with the user's turn, or with the answer to it.
        spec: How closely to look.
        threads: Of llama.cpp.
        progress: Told what is being done.

    Raises:
        BaseModelError: the base cannot be loaded.
        ExportError: a file differs from the weights, or cannot be compared; the first place is named.
    """
    told = progress or _silent
    if not files:
        raise ExportError("parity: no file to compare; ask for at least one of export.quantizations")
    asked = [talk[:-1] if str(talk[-1].role) == "assistant" else talk for talk in conversations]
    prompts = render_prompts(tokenizer, asked)
    told("parity: tokens", 0, None)
    tensors = {kind: numbers.read_tensors(path) for kind, path in files.items()}
    with open_source(base, trained) as source:
        ends = find_ends(tokenizer, _read_generation(source.folder))
        tokens = check_tokens(files, tokenizer, prompts, ends, threads=threads)
        longest = int(source.config.max_position_embeddings)
        texts = _cut_texts(tokenizer, conversations, longest, spec.parity_positions)
        fitting = [prompt for prompt in prompts if 0 < len(prompt.ids) <= longest - spec.parity_tokens]
        if not fitting or not texts:
            raise ExportError(
                f"parity: none of {len(prompts)} prompts leaves room for {spec.parity_tokens} tokens of answer; "
                "give shorter prompts or lower export.parity_tokens"
            )
        noises = {} if trained is None else _measure_base(base, tensors, texts, told)
        told("loading the trained weights", 0, None)
        model = load_trained(base, trained)
        measured = _measure_files(model, source, files, tensors, texts, noises, threads=threads, told=told)
        for kind, of in measured.items():
            divergence.judge(
                files[kind].name, kind, of.found, of.executed, of.noise, of.base, factor=spec.parity_noise_factor
            )
        numbers.fill_model(model, source)
        answers: dict[str, list[GreedyAnswer]] = {}
        for done, (kind, path) in enumerate(files.items()):
            context = max(len(prompt.ids) for prompt in fitting) + spec.parity_tokens
            with open_llama(path, n_ctx=context, n_threads=threads, n_threads_batch=threads) as llama:
                answers[kind] = check_answers(
                    path.name,
                    llama,
                    model,
                    tokenizer,
                    fitting,
                    max_tokens=spec.parity_tokens,
                    ends=ends,
                    tie_logits=measured[kind].tie_logits,
                )
            told("parity: answers", done + 1, len(files))
    return ParityReport(
        tokens=tokens,
        texts=tuple(
            TextParity(
                number + 1, len(ids), {kind: float(of.found[number].nats.mean()) for kind, of in measured.items()}
            )
            for number, ids in enumerate(texts)
        ),
        prompts=tuple(
            PromptParity(prompts.index(prompt) + 1, len(prompt.ids), {kind: of[at] for kind, of in answers.items()})
            for at, prompt in enumerate(fitting)
        ),
        files={kind: _summarise(of) for kind, of in measured.items()},
        max_tokens=spec.parity_tokens,
        skipped_too_long=len(prompts) - len(fitting),
    )


def _cut_texts(
    tokenizer: Any, conversations: Sequence[tuple[Message, ...]], longest: int, positions: int
) -> list[list[int]]:
    """Held-out conversations as token ids, answers and all, as long as the model reads, `positions` tokens in all.

    Every conversation gets its share, so that one long document does not take the place of all others.
    """
    found, left = [], positions
    for done, talk in enumerate(conversations):
        messages = [{"role": str(message.role), "content": message.content} for message in talk]
        text = render(tokenizer, messages, reply=messages[-1]["role"] != "assistant")
        share = max(1, left // (len(conversations) - done))
        ids = tokenize(tokenizer, text)[: min(longest, share)]
        left -= len(ids)
        if ids:
            found.append(ids)
    return found


def _read_generation(folder: Path) -> Any:
    from transformers import GenerationConfig

    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(str(folder))
    return None


def _measure_base(
    base: BaseModelSpec, tensors: Mapping[str, Mapping[str, FileTensor]], texts: list[list[int]], told: Progress
) -> dict[str, Noise]:
    """What each kind's rounding costs the base model on these texts."""
    told("parity: the base's own rounding", 0, None)
    model = load_trained(base, None)
    head, plain = read_head(model, keep=True), read_texts(model, texts)
    noises = {}
    with open_source(base, None) as source:
        for kind, of in tensors.items():
            numbers.round_model(model, source, of)
            rounded, own = _read_rounded(model, numbers.name_kinds(source, of), texts)
            noises[kind] = Noise(divergence.compare_passes(plain, head, rounded, own))
    return noises


def _measure_files(
    model: Any,
    source: Any,
    files: Mapping[str, Path],
    tensors: Mapping[str, Mapping[str, FileTensor]],
    texts: list[list[int]],
    noises: Mapping[str, Noise],
    *,
    threads: int,
    told: Progress,
) -> dict[str, _Measured]:
    """Rounds the trained weights as each file says, and reads the texts with them and with the file."""
    head, plain = read_head(model, keep=True), read_texts(model, texts)
    measured = {}
    for done, (kind, path) in enumerate(files.items()):
        worst = numbers.round_model(model, source, tensors[kind], check=path.name)
        rounded, own = _read_rounded(model, numbers.name_kinds(source, tensors[kind]), texts)
        noise = Noise(divergence.compare_passes(plain, head, rounded, own))
        found, executed = [], []
        options = {"n_ctx": max(map(len, texts)), "n_threads": threads, "n_threads_batch": threads}
        with open_llama(path, **options) as llama:
            for ids, trained, rough in zip(texts, plain, rounded, strict=True):
                logits = read_logits(llama, ids)
                found.append(divergence.compare_logits(trained, head, logits))
                executed.append(divergence.compare_logits(rough, own, logits))
        measured[kind] = _Measured(tuple(found), tuple(executed), noise, noises.get(kind, noise), worst)
        told("parity: distributions", done + 1, len(files))
    return measured


def _read_rounded(model: Any, kinds: Mapping[str, str], texts: list[list[int]]) -> tuple[Pass, Head]:
    """Reads the texts with a model whose weights are rounded, in the arithmetic of their types."""
    layers = {name: kind for name, kind in kinds.items() if name != "lm_head.weight"}
    with computing_as(model, layers):
        return read_texts(model, texts), read_head(model, kind=kinds["lm_head.weight"])


def _summarise(of: _Measured) -> FileParity:
    positions = sum(len(gap.nats) for gap in of.found)
    return FileParity(
        positions=positions,
        top1=1 - divergence.count_differing(of.found) / positions,
        mean_kl_nats=divergence.mean_nats(of.found),
        max_kl_nats=max(float(gap.nats.max()) for gap in of.found),
        largest_logit_difference=max(gap.logits for gap in of.found),
        noise_kl_nats=of.noise.mean_nats,
        noise_top1=1 - divergence.count_differing(of.noise.gaps) / positions,
        execution_kl_nats=divergence.mean_nats(of.executed),
        base_kl_nats=of.base.mean_nats,
        base_ratio=divergence.geometric_ratio(of.found, of.base.gaps),
        worst_block=of.worst_block,
        tie_logits=of.tie_logits,
    )


def _silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody wants to see."""
