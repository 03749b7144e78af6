"""What models are asked in an evaluation, and what each makes of it: all questions of all measures in one go.

Prompts and rows that are longer than the model's room are left out and counted, never cut.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.generate import find_special_tokens, generate_answers
from flytewheel.evaluation.perplexity import Encoded, Score, encode, encode_prompt, score_completions
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import BaseModelSpec, EvaluationSpec
from flytewheel.records import Message, digest


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt to answer, `samples` times; greedily at `temperature` 0. `of_base`: the bare base is asked too."""

    prompt: tuple[Message, ...]
    samples: int = 1
    temperature: float = 0.0
    of_base: bool = False


@dataclass(frozen=True, slots=True)
class Weigh:
    """A completion whose log-probability is wanted. `of_base`: from the bare base too."""

    prompt: tuple[Message, ...]
    completion: str
    of_base: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of `tokens` tokens. `ended`: by an end token, not by the limit. `specials`: tokens of them that are the
    template's and not text; `text` does not show them."""

    text: str
    tokens: int = 0
    ended: bool = True
    specials: int = 0


@dataclass(frozen=True, slots=True)
class Voice:
    """What one model made of a measure's questions, in their order: replies of every `Ask` (none where it did not fit
    or was not asked) and the score of every `Weigh` (`None` likewise).
    """

    replies: tuple[tuple[Reply, ...], ...] = ()
    scores: tuple[Score | None, ...] = ()

    def say(self, index: int) -> str:
        """The text of the first reply to an `Ask`; empty where there is none."""
        return self.replies[index][0].text if self.replies[index] else ""


class Questionnaire:
    """The questions of all measures, tokenised once.

    Raises:
        EvaluationError: answers of the length asked for leave no room for a prompt.
    """

    def __init__(
        self, tokenizer: Any, config: Any, base: BaseModelSpec, evaluation: EvaluationSpec, *, seed: int
    ) -> None:
        positions = getattr(config, "max_position_embeddings", None) or base.max_length
        self._room = min(base.max_length, positions)
        self._prompt_room = min(base.max_length, positions - evaluation.max_new_tokens)
        if self._prompt_room < 1:
            raise EvaluationError(
                f"evaluation.max_new_tokens {evaluation.max_new_tokens}: expected fewer than the model's "
                f"{positions} positions; lower it"
            )
        self._tokenizer = tokenizer
        self._specials = find_special_tokens(tokenizer)
        self._spec = evaluation
        self._seed = seed
        self._asks: dict[str, list[tuple[Ask, tuple[int, ...] | None]]] = {}
        self._weighs: dict[str, list[tuple[Weigh, Encoded | None]]] = {}

    def add(self, name: str, asks: Sequence[Ask], weighs: Sequence[Weigh]) -> None:
        """Adds the questions of the measure `name`."""
        self._asks[name] = [(ask, self._fit(encode_prompt(self._tokenizer, ask.prompt))) for ask in asks]
        self._weighs[name] = []
        for weigh in weighs:
            line = encode(self._tokenizer, weigh.prompt, weigh.completion)
            fits = len(line.prompt) + len(line.completion) <= self._room
            self._weighs[name].append((weigh, line if fits else None))

    def _fit(self, prompt: tuple[int, ...]) -> tuple[int, ...] | None:
        return prompt if len(prompt) <= self._prompt_room else None

    @property
    def skipped(self) -> dict[str, int]:
        """Questions of each measure that do not fit; measures without any are left out."""
        found = {
            name: sum(ids is None for _, ids in asks) + sum(line is None for _, line in self._weighs[name])
            for name, asks in self._asks.items()
        }
        return {name: count for name, count in found.items() if count}

    def hear(
        self,
        model: Any,
        end_tokens: Collection[int],
        speaker: str,
        progress: ProgressCallback | None = None,
        *,
        of_base: bool = False,
    ) -> dict[str, Voice]:
        """Asks the model that speaks now; `of_base`: only what the bare base is asked. Returns a voice a measure."""
        spec = self._spec
        lines = [
            (name, index, line)
            for name, weighs in self._weighs.items()
            for index, (weigh, line) in enumerate(weighs)
            if line is not None and (weigh.of_base or not of_base)
        ]
        scores: dict[tuple[str, int], Score] = {}
        if lines:
            found = score_completions(
                model,
                [line for *_, line in lines],
                batch_size=spec.batch_size,
                pad_id=self._tokenizer.pad_token_id,
                progress=progress,
                what=f"scoring {speaker}",
            )
            scores = {(name, index): score for (name, index, _), score in zip(lines, found, strict=True)}
        prompts = [
            (name, index, ids, ask.temperature, sample)
            for name, asks in self._asks.items()
            for index, (ask, ids) in enumerate(asks)
            if ids is not None and (ask.of_base or not of_base)
            for sample in range(ask.samples)
        ]
        replies: dict[tuple[str, int], list[Reply]] = {}
        if prompts:
            said = generate_answers(
                model,
                [ids for _, _, ids, _, _ in prompts],
                max_new_tokens=spec.max_new_tokens,
                batch_size=spec.batch_size,
                end_tokens=end_tokens,
                pad_id=self._tokenizer.pad_token_id,
                temperatures=[temperature for *_, temperature, _ in prompts],
                seeds=[self._seed_sample(name, ids, sample) for name, _, ids, _, sample in prompts],
                progress=progress,
                what=f"answering {speaker}",
            )
            for (name, index, *_), spoken in zip(prompts, said, strict=True):
                text = self._tokenizer.decode(spoken.tokens, skip_special_tokens=True)
                specials = sum(token in self._specials for token in spoken.tokens)
                replies.setdefault((name, index), []).append(Reply(text, len(spoken.tokens), spoken.ended, specials))
        return {
            name: Voice(
                tuple(tuple(replies.get((name, index), ())) for index in range(len(asks))),
                tuple(scores.get((name, index)) for index in range(len(self._weighs[name]))),
            )
            for name, asks in self._asks.items()
        }

    def _seed_sample(self, name: str, prompt: Sequence[int], sample: int) -> int:
        """The same draw for the same prompt, whatever else is asked: one new case changes no other's samples."""
        return int(digest([self._seed, name, list(prompt), sample])[:15], 16)
