"""What both models are asked, and what one of them makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flytewheel.dataset import Dataset
from flytewheel.errors import EvaluationError
from flytewheel.evaluation.generate import generate_answers
from flytewheel.evaluation.perplexity import Encoded, Score, encode, encode_prompt, score_completions
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import BaseModelSpec, EvaluationSpec
from flytewheel.records import Preference, RegressionCase, SftRow

Row = TypeVar("Row", SftRow, Preference)


@dataclass(frozen=True, slots=True)
class Questions:
    """What both models are asked. Token ids stand beside the rows; cases that do not fit have none and fail."""

    scored: list[tuple[SftRow, Encoded]]
    pairs: list[tuple[Preference, Encoded, Encoded]]
    prompts: list[tuple[SftRow, tuple[int, ...]]]
    cases: list[tuple[RegressionCase, tuple[int, ...] | None]]
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model made of the questions, each in their order."""

    scores: list[Score]
    chosen: list[Score]
    rejected: list[Score]
    texts: list[str]
    cases: list[str]


def choose(rows: Sequence[Row], limit: int, seed: int) -> list[Row]:
    """Takes at most `limit` rows, the same ones for the same seed whatever their order."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest())[:limit]


def gather_questions(
    data: Dataset,
    cases: Sequence[RegressionCase],
    tokenizer: Any,
    model: Any,
    base: BaseModelSpec,
    evaluation: EvaluationSpec,
    seed: int,
) -> Questions:
    """Takes and tokenises the test part's rows; those longer than the model's room are left out and counted.

    Raises:
        EvaluationError: answers of the length asked for leave no room for a prompt.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or base.max_length
    room = min(base.max_length, positions)
    prompt_room = min(base.max_length, positions - evaluation.max_new_tokens)
    if prompt_room < 1:
        raise EvaluationError(
            f"evaluation.max_new_tokens {evaluation.max_new_tokens}: expected fewer than the model's "
            f"{positions} positions; lower it"
        )
    rows = choose(data.sft("test"), len(data.sft("test")), seed)
    scored = [(row, encode(tokenizer, row.prompt, row.completion)) for row in rows[: evaluation.max_scored_rows]]
    pairs = [
        (pair, encode(tokenizer, pair.prompt, pair.chosen), encode(tokenizer, pair.prompt, pair.rejected))
        for pair in choose(data.preferences("test"), evaluation.max_scored_rows, seed)
    ]
    prompts = [(row, encode_prompt(tokenizer, row.prompt)) for row in rows[: evaluation.max_examples]]
    asked = [(case, encode_prompt(tokenizer, case.prompt)) for case in cases]

    def fits(*texts: Encoded) -> bool:
        return all(len(line.prompt) + len(line.completion) <= room for line in texts)

    kept = Questions(
        [item for item in scored if fits(item[1])],
        [item for item in pairs if fits(*item[1:])],
        [item for item in prompts if len(item[1]) <= prompt_room],
        [(case, ids if len(ids) <= prompt_room else None) for case, ids in asked],
        {},
    )
    kept.skipped.update(
        scored=len(scored) - len(kept.scored),
        pairs=len(pairs) - len(kept.pairs),
        prompts=len(prompts) - len(kept.prompts),
        cases=sum(ids is None for _, ids in kept.cases),
    )
    return kept


def score(
    model: Any,
    tokenizer: Any,
    questions: Questions,
    evaluation: EvaluationSpec,
    name: str,
    progress: ProgressCallback | None,
    *,
    pairs_only: bool = False,
) -> Answers:
    """Log-probabilities of the held-out completions and pairs, or of the pairs alone; nothing is generated."""
    rows = [] if pairs_only else [row for _, row in questions.scored]
    chosen = [pair[1] for pair in questions.pairs]
    scores = score_completions(
        model,
        [*rows, *chosen, *(pair[2] for pair in questions.pairs)],
        batch_size=evaluation.batch_size,
        pad_id=tokenizer.pad_token_id,
        progress=progress,
        what=f"scoring {name}",
    )
    middle = len(rows) + len(chosen)
    return Answers(scores[: len(rows)], scores[len(rows) : middle], scores[middle:], [], [])


def ask(
    model: Any,
    tokenizer: Any,
    questions: Questions,
    evaluation: EvaluationSpec,
    end_tokens: Collection[int],
    name: str,
    progress: ProgressCallback | None,
) -> Answers:
    """Scores and greedy answers of the model that speaks now; `name` is told with the progress."""
    found = score(model, tokenizer, questions, evaluation, name, progress)
    asked = [ids for _, ids in questions.cases if ids is not None]
    answers = generate_answers(
        model,
        [*(ids for _, ids in questions.prompts), *asked],
        max_new_tokens=evaluation.max_new_tokens,
        batch_size=evaluation.batch_size,
        end_tokens=end_tokens,
        pad_id=tokenizer.pad_token_id,
        progress=progress,
        what=f"answering {name}",
    )
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
    rest = iter(texts[len(questions.prompts) :])
    said = ["" if ids is None else next(rest) for _, ids in questions.cases]
    return Answers(found.scores, found.chosen, found.rejected, texts[: len(questions.prompts)], said)
