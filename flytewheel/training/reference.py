"""Log-probabilities of answers under the reference policy: computed once, kept by content, used in every later epoch.

The reference is the policy as it stands before its first step: the SFT adapter (or full weights from SFT), the bare
base under a fresh adapter, whose B is zero. So it needs neither a second base nor a frozen copy of the adapter, and no
forward pass in a step (Rafailov et al. 2023, arXiv:2305.18290, equation 7: log pi_ref(y|x) is a constant of the row).

A value is known by the token ids of prompt and answer and by all that decides what the model makes of them
(`reference_key`). On a CPU every answer is computed by itself, without padding: the value is a function of its key and
its row alone, so that what happens to be cached already changes no bit of what is learnt. (Measured: 1.1 times the CPU
time of batches of eight sorted by length.) On an accelerator answers of similar length share a batch, and values differ
in the last digits with their neighbours, as they do in TRL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from flytewheel.errors import TrainingError
from flytewheel.models import Device
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import BaseModelSpec, TrainingSpec
from flytewheel.records import digest
from flytewheel.training.reference_store import ReferenceStore

REFERENCE_VERSION = "1"  # of how values are computed; a change makes every kept one unknown
_KEEP_EVERY = 512  # answers between two writes: what a kill may cost
_BATCH_TOKENS = 8192  # of one batch on an accelerator, padding included
_HEAD_POSITIONS = 1024  # of which float32 logits are held at once


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in the place where it was given: token ids of prompt and answer, and where the answer starts."""

    ids: tuple[int, ...]
    start: int

    @property
    def digest(self) -> bytes:
        """SHA-256 over `start` and `ids`, as 64-bit little-endian integers."""
        import numpy

        return hashlib.sha256(numpy.asarray((self.start, *self.ids), dtype="<i8").tobytes()).digest()

    @property
    def tokens(self) -> int:
        """Tokens of the answer alone."""
        return len(self.ids) - self.start


@dataclass(frozen=True, slots=True)
class ReferenceUse:
    """How many distinct answers a training needed, how many were computed, and how many broken files were met."""

    answers: int = 0
    computed: int = 0
    discarded: int = 0

    def __add__(self, other: ReferenceUse) -> ReferenceUse:
        return ReferenceUse(
            self.answers + other.answers, self.computed + other.computed, self.discarded + other.discarded
        )


def reference_key(
    base: BaseModelSpec, training: TrainingSpec, tokenizer: Any, device: Device, *, base_digest: str, start: str | None
) -> dict[str, Any]:
    """All that decides a log-probability beside the row itself.

    Args:
        base: The base model's part of the recipe.
        training: Says whether the base is held in 4 bits.
        tokenizer: Its vocabulary and chat template count.
        device: Kind, dtype and autocast count; on a CPU the number of threads, too, which decides the last bits.
        base_digest: Content of the base model (`models.base_digest`).
        start: Digest of the SFT adapter or of the full weights; `None` is the bare base.
    """
    import torch

    return {
        "base": base_digest,
        "start": start,
        "tokenizer": digest(tokenizer.get_vocab()),
        "template": tokenizer.chat_template,
        "max_length": base.max_length,
        "dtype": _name_dtype(base, training, device),
        "attention": base.attention,
        "quantised": training.adapter == "qlora",
        "autocast": device.profile.autocast.value,
        "device": device.kind,
        "threads": torch.get_num_threads() if device.kind == "cpu" else None,
        "code": REFERENCE_VERSION,
    }


def _name_dtype(base: BaseModelSpec, training: TrainingSpec, device: Device) -> str:
    if training.adapter == "full":  # trained in float32, whatever the recipe says
        return "float32"
    return device.dtype if base.dtype == "auto" else base.dtype


def reference_logps(
    model: Any,
    answers: Sequence[Answer],
    store: ReferenceStore,
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    progress: ProgressCallback | None = None,
    share: tuple[int, int] = (0, 1),
) -> tuple[dict[bytes, float], ReferenceUse]:
    """Looks answers up and computes those that are not known.

    Args:
        model: A causal language model as it stands before its first step; PEFT or not.
        answers: In any order; the same one may come several times.
        store: Where values are kept, under their key.
        autocast: Makes the context that the trainer runs the model in.
        progress: Is told of `reference`.
        share: This process (counted from 0) of so many that compute together: it computes its part only.

    Returns:
        Log-probability of each answer in nats, summed over its tokens, by digest; and what it took.

    Raises:
        TrainingError: the model gives a log-probability that is not finite.
    """
    needed = {answer.digest: answer for answer in answers}
    found, discarded = store.read(needed)
    missing = [answer for name, answer in needed.items() if name not in found]
    process, processes = share
    # By content, not by place in a list: what the processes find at the same moment may differ.
    mine = [answer for answer in missing if answer.digest[0] % processes == process]
    mine.sort(key=lambda answer: (-len(answer.ids), answer.ids))
    fresh: dict[bytes, tuple[float, int]] = {}
    for at, (answer, logp) in enumerate(_compute(model, mine, autocast), start=1):
        if logp - logp != 0.0:
            raise TrainingError(
                f"reference: log-probability {logp} of an answer of {answer.tokens} tokens; the weights that alignment "
                "starts from are broken: train SFT again with a lower learning rate, or take float32 (base.dtype)"
            )
        fresh[answer.digest] = (logp, answer.tokens)
        found[answer.digest] = logp
        if progress is not None:
            progress("reference", at, len(mine))
        if len(fresh) >= _KEEP_EVERY or at == len(mine):
            store.write(fresh)
            fresh = {}
    return found, ReferenceUse(len(needed), len(mine), discarded)


def _compute(
    model: Any, answers: Sequence[Answer], autocast: Callable[[], AbstractContextManager[Any]]
) -> Iterator[tuple[Answer, float]]:
    import torch

    if not answers:
        return
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()  # no dropout, no gradient checkpointing
    try:
        for batch in _batches(answers, alone=device.type == "cpu"):
            with torch.no_grad(), autocast():
                yield from zip(batch, _score(model, batch, device), strict=True)
    finally:
        model.train(was_training)


def _batches(answers: Sequence[Answer], *, alone: bool) -> Iterator[Sequence[Answer]]:
    """Splits answers, longest first, into batches of at most `_BATCH_TOKENS`."""
    at = 0
    while at < len(answers):
        size = 1 if alone else max(1, _BATCH_TOKENS // len(answers[at].ids))
        yield answers[at : at + size]
        at += size


def _score(model: Any, batch: Sequence[Answer], device: Any) -> list[float]:
    """Sums log p(token | all before it) over each answer; the head works from the first answer's start on only."""
    import torch

    longest = max(len(answer.ids) for answer in batch)
    first = min(answer.start for answer in batch) - 1
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    answered = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, answer in enumerate(batch):
        ids[row, : len(answer.ids)] = torch.tensor(answer.ids)
        answered[row, answer.start : len(answer.ids)] = True
    inputs: dict[str, Any] = {"input_ids": ids.to(device)}
    if len(batch) > 1:
        lengths = torch.tensor([len(answer.ids) for answer in batch])
        inputs["attention_mask"] = (torch.arange(longest)[None] < lengths[:, None]).long().to(device)
    logits = model(
        **inputs, use_cache=False, logits_to_keep=torch.arange(first, longest - 1, device=device)
    ).logits.flatten(0, 1)  # (batch x kept, vocabulary)
    targets = ids[:, first + 1 :].flatten().to(device)
    kept = answered[:, first + 1 :].flatten().to(device)
    logps = torch.zeros(len(targets), dtype=torch.float64, device="cpu")
    for at in range(0, len(targets), _HEAD_POSITIONS):
        some = slice(at, at + _HEAD_POSITIONS)
        chunk = logits[some].float()
        picked = chunk.gather(1, targets[some, None])[:, 0] - chunk.logsumexp(-1)
        logps[some] = torch.where(kept[some], picked, 0.0).cpu().double()
    return logps.view(len(batch), -1).sum(1).tolist()  # type: ignore[no-any-return,unused-ignore]


def column_answers(table: Any, column: str, max_length: int) -> list[Answer]:
    """The answers in `column` of a tokenised table, each after its `prompt_ids`, cut as TRL's collator cuts them."""
    return [
        Answer((*prompt, *answer)[:max_length], len(prompt))
        for prompt, answer in zip(table["prompt_ids"], table[column], strict=True)
    ]


def add_reference(table: Any, values: Mapping[bytes, float], answers: Mapping[str, Sequence[Answer]]) -> Any:
    """Adds to `table` a column of log-probabilities for each name in `answers`."""
    for name, own in answers.items():
        table = table.add_column(name, [values[answer.digest] for answer in own])
    return table


def count_reference(trainer: Any) -> dict[str, int]:
    """What a report says of the reference of `trainer`; nothing for one without."""
    use = getattr(trainer, "reference_use", None)
    return {} if use is None else {f"reference_{name}": count for name, count in asdict(use).items()}
