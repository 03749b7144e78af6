"""The parity gate as a whole: tokens, numbers, distributions and greedy answers of every file.

One model is in memory at a time, in fp32: the base first, for what rounding costs it; then the trained weights, which
are rounded in place as each file says and are put back for the greedy answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.adapter import Delta
from flytewheel.export.families import PlannedTensor
from flytewheel.export.llamacpp import open_llama, read_logits, write_greedily
from flytewheel.export.parity import divergence, numbers
from flytewheel.export.parity.divergence import Gap, Noise
from flytewheel.export.parity.greedy import Preference, check_answers
from flytewheel.export.parity.numbers import FileTensor
from flytewheel.export.parity.reference import (
    Head,
    Pass,
    computing_as,
    load_trained,
    plain_name,
    read_head,
    read_texts,
)
from flytewheel.export.parity.report import FileParity, GreedyAnswer, ParityReport, PromptParity, TextParity
from flytewheel.export.parity.tokens import Prompt, check_tokens, render, render_prompts, tokenize
from flytewheel.export.source import Source, open_source
from flytewheel.export.vocabulary import find_specials
from flytewheel.recipe import BaseModelSpec, ExportSpec
from flytewheel.records import Message

ADAPTER = "adapter"  # what the adapter's file is called among the kinds
_HEAD = "lm_head.weight"
LEAST_TIE = 1e-3  # logits; nearer ones are on a coin's edge in any arithmetic

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter's GGUF, and the base's that it is tried on, which is of the kind `kind`."""

    path: Path
    base: Path
    kind: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What llama.cpp opens: a file, or a file of the base with an adapter on top."""

    kind: str
    path: Path
    tensors: Mapping[str, FileTensor]
    adapter: Path | None = None

    @property
    def name(self) -> str:
        return (self.adapter or self.path).name

    @contextmanager
    def open(self, tokens: int, threads: int) -> Iterator[Any]:
        more = {} if self.adapter is None else {"lora_path": str(self.adapter)}
        with open_llama(self.path, n_ctx=tokens, n_threads=threads, n_threads_batch=threads, **more) as llama:
            yield llama


@dataclass(frozen=True, slots=True)
class _Weights:
    """The open sources of what was trained and of its base, and where their tensors go."""

    trained: Source
    trained_plan: Sequence[PlannedTensor]
    base: Source
    base_plan: Sequence[PlannedTensor]


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
    adapter: AdapterFiles | None = None,
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
        adapter: The adapter alone as a file, to be compared as well.
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
    candidates = [_Candidate(kind, path, numbers.read_tensors(path)) for kind, path in files.items()]
    if adapter is not None:
        candidates.append(_Candidate(adapter.kind, adapter.base, numbers.read_tensors(adapter.base), adapter.path))
    with open_source(base, trained) as source, open_source(base, None) as bare:
        told("parity: tokens", 0, None)
        specials = find_specials(tokenizer, source.folder)
        tokens = check_tokens(
            list({each.path: each.path for each in candidates}), tokenizer, prompts, specials.ends, threads=threads
        )
        longest = int(source.config.max_position_embeddings)
        texts = _cut_texts(tokenizer, conversations, longest, spec.parity_positions)
        fitting = [prompt for prompt in prompts if 0 < len(prompt.ids) <= longest - spec.parity_tokens]
        if not fitting or not texts:
            raise ExportError(
                f"parity: none of {len(prompts)} prompts leaves room for {spec.parity_tokens} tokens of answer; "
                "give shorter prompts or lower export.parity_tokens"
            )
        weights = _Weights(source, numbers.plan_tensors(source), bare, numbers.plan_tensors(bare))
        noises = {} if trained is None else _measure_base(base, weights, candidates, texts, told)
        told("parity: loading the trained weights", 0, None)
        untie = source.base_is_tied and not source.config.tie_word_embeddings
        model = load_trained(base, trained, untie=untie)
        measured = _measure_files(model, weights, candidates, texts, noises, threads=threads, told=told)
        for each, of in zip(candidates, measured, strict=True):
            divergence.judge(
                each.name,
                each.kind,
                of.found,
                of.executed,
                of.noise,
                of.base,
                factor=spec.parity_noise_factor,
                tell=lambda index: f"{index} {tokenizer.decode([index])!r}",
            )
        numbers.fill_model(model, source, weights.trained_plan)
        answers = _ask(model, tokenizer, candidates, measured, fitting, set(specials.ends), spec, threads, told)
    names = [ADAPTER if each.adapter else each.kind for each in candidates]
    return ParityReport(
        tokens=tokens,
        texts=tuple(
            TextParity(
                number + 1,
                len(ids),
                {name: float(of.found[number].nats.mean()) for name, of in zip(names, measured, strict=True)},
            )
            for number, ids in enumerate(texts)
        ),
        prompts=tuple(
            PromptParity(
                prompts.index(prompt) + 1,
                len(prompt.ids),
                {name: of[at] for name, of in zip(names, answers, strict=True)},
            )
            for at, prompt in enumerate(fitting)
        ),
        files={name: _summarise(of) for name, of in zip(names, measured, strict=True)},
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


def _measure_base(
    base: BaseModelSpec,
    weights: _Weights,
    candidates: Sequence[_Candidate],
    texts: list[list[int]],
    told: Progress,
) -> dict[str, Noise]:
    """What each kind's rounding costs the base model on these texts."""
    told("parity: what rounding costs the base", 0, None)
    model = load_trained(base, None)
    head, plain = read_head(model, keep=True), read_texts(model, texts)
    noises: dict[str, Noise] = {}
    for each in candidates:
        if each.kind not in noises:
            tensors = _leave_out_untied(weights, each.tensors)
            numbers.round_model(model, weights.base, weights.base_plan, tensors)
            rounded, own = _read_rounded(model, numbers.name_kinds(weights.base_plan, tensors), texts)
            noises[each.kind] = Noise(divergence.compare_passes(plain, head, rounded, own))
    return noises


def _leave_out_untied(weights: _Weights, tensors: Mapping[str, FileTensor]) -> Mapping[str, FileTensor]:
    """A file's tensors that the base has as well: an output matrix of its own came with training."""
    more = {tensor.name for tensor in weights.trained_plan} - {tensor.name for tensor in weights.base_plan}
    return {name: tensor for name, tensor in tensors.items() if name not in more}


def _measure_files(
    model: Any,
    weights: _Weights,
    candidates: Sequence[_Candidate],
    texts: list[list[int]],
    noises: Mapping[str, Noise],
    *,
    threads: int,
    told: Progress,
) -> list[_Measured]:
    """Rounds the trained weights as each file says, and reads the texts with them and with the file."""
    head, plain = read_head(model, keep=True), read_texts(model, texts)
    measured = []
    for done, each in enumerate(candidates):
        if each.adapter is None:
            source, planned = weights.trained, weights.trained_plan
        else:
            source, planned = weights.base, weights.base_plan
        worst = numbers.round_model(model, source, planned, each.tensors, check=each.path.name)
        added = {} if each.adapter is None else weights.trained.adapter.deltas
        deltas = {plain_name(name): delta for name, delta in added.items()}
        rounded, own = _read_rounded(model, numbers.name_kinds(planned, each.tensors), texts, deltas)
        noise = Noise(divergence.compare_passes(plain, head, rounded, own))
        found, executed = [], []
        with each.open(max(map(len, texts)), threads) as llama:
            for ids, trained, rough in zip(texts, plain, rounded, strict=True):
                logits = read_logits(llama, ids)
                found.append(divergence.compare_logits(trained, head, logits))
                executed.append(divergence.compare_logits(rough, own, logits))
        measured.append(_Measured(tuple(found), tuple(executed), noise, noises.get(each.kind, noise), worst))
        told("parity: distributions", done + 1, len(candidates))
    return measured


def _ask(
    model: Any,
    tokenizer: Any,
    candidates: Sequence[_Candidate],
    measured: Sequence[_Measured],
    prompts: Sequence[Prompt],
    ends: set[int],
    spec: ExportSpec,
    threads: int,
    told: Progress,
) -> list[list[GreedyAnswer]]:
    """Every file's greedy answers, judged by the trained weights. What one file wrote is the next one's draft."""
    answers: list[list[GreedyAnswer]] = []
    read: dict[tuple[int, ...], list[Preference]] = {}
    drafts: list[list[int]] = [[] for _ in prompts]
    for done, (each, of) in enumerate(zip(candidates, measured, strict=True)):
        with each.open(max(len(prompt.ids) for prompt in prompts) + spec.parity_tokens, threads) as llama:
            written = [
                write_greedily(llama, prompt.ids, spec.parity_tokens, ends, draft=draft)
                for prompt, draft in zip(prompts, drafts, strict=True)
            ]
            answers.append(
                check_answers(
                    each.name,
                    llama,
                    model,
                    tokenizer,
                    prompts,
                    written,
                    max_tokens=spec.parity_tokens,
                    ends=ends,
                    tie_logits=of.tie_logits,
                    read=read,
                )
            )
        drafts = written
        told("parity: answers", done + 1, len(candidates))
    return answers


def _read_rounded(
    model: Any, kinds: Mapping[str, str], texts: list[list[int]], deltas: Mapping[str, Delta] | None = None
) -> tuple[Pass, Head]:
    """Reads the texts with a model whose weights are rounded, in the arithmetic of their types; and an adapter's."""
    with computing_as(model, {name: kind for name, kind in kinds.items() if name != _HEAD}, deltas):
        return read_texts(model, texts), read_head(model, kind=kinds[_HEAD], delta=(deltas or {}).get(_HEAD))


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
