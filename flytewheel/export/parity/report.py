"""What the parity gate found, as `parity.json` keeps it. Versions are immutable and a person may ask to be forgotten,
so no text of a prompt or an answer is in here, nor a digest that would confirm a guess: held-out prompts have a number,
tokens an id. Only the built-in battery goes by names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenParity:
    """What was tokenised twice. `by_server` of the texts were rendered by llama.cpp's server from the file's own chat
    template; `refused` names the cases of the battery that the model's template does not take. `excused` texts differ
    and are of a kind that llama.cpp cannot be told about (`vocabulary.domain`): of the battery by name, held-out ones
    by number. `ends_missed` are further end tokens that a file has no room for.
    """

    battery: tuple[str, ...]
    refused: tuple[str, ...]
    excused: tuple[str, ...]
    ends_missed: tuple[int, ...]
    held_out: int
    by_server: int
    tokens: int


@dataclass(frozen=True, slots=True)
class NearTie:
    """A place in a greedy answer where the file wrote another token than the weights would have, by less than its
    rounding moves logits. Token ids; `gap_logits` is what the weights hold their own token better by.
    """

    position: int
    reference: int
    file: int
    gap_logits: float


@dataclass(frozen=True, slots=True)
class GreedyAnswer:
    """A greedy answer of one file to one prompt. `ended` by an end token; `loops` as `flytewheel.loops` says."""

    tokens: int
    ended: bool
    loops: bool
    near_ties: tuple[NearTie, ...]


@dataclass(frozen=True, slots=True)
class PromptParity:
    """One held-out prompt by its number, and every file's answer to it."""

    number: int
    prompt_tokens: int
    answers: dict[str, GreedyAnswer]


@dataclass(frozen=True, slots=True)
class TextParity:
    """One held-out text (prompt and answer) by its number: nats a token of the trained weights against every file."""

    number: int
    positions: int
    kl_nats: dict[str, float]


@dataclass(frozen=True, slots=True)
class FileParity:
    """One file over all held-out texts; divergences are in nats a token.

    Attributes:
        positions: Tokens at which distributions were compared.
        top1: Share of them where file and trained weights hold the same token best.
        mean_kl_nats: Of the trained weights against the file.
        max_kl_nats: At the worst position.
        largest_logit_difference: Between the two.
        noise_kl_nats: Of the trained weights against themselves, rounded as the file says: what the kind must cost.
        noise_top1: The share that this rounding leaves.
        execution_kl_nats: Of the rounded weights in transformers against the file in llama.cpp: what only a wrong file
            costs.
        base_kl_nats: What the same rounding costs the base model on the same texts.
        base_ratio: How much more the file loses than that: geometric mean over the texts.
        worst_block: Largest error of a block, in units of what rounding it must cost.
        tie_logits: A greedy difference up to here is a near tie.
    """

    positions: int
    top1: float
    mean_kl_nats: float
    max_kl_nats: float
    largest_logit_difference: float
    noise_kl_nats: float
    noise_top1: float
    execution_kl_nats: float
    base_kl_nats: float
    base_ratio: float
    worst_block: float
    tie_logits: float


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What was compared: token ids, distributions over `texts`, greedy answers to `prompts`; figures by file kind."""

    tokens: TokenParity
    texts: tuple[TextParity, ...]
    prompts: tuple[PromptParity, ...]
    files: dict[str, FileParity]
    max_tokens: int
    skipped_too_long: int
