"""Measures candidate and champion on the test part's users, and says how sure that is.

Both were trained from one base, whose bare self is the first champion (`speakers`). Every figure of the two comes from
the same rows, prompts and batches, and every interval from the same resamples of users. Which rows are taken when there
are too many is decided by a hash of seed and row, not by order, so a smaller sample is a part of a larger one. Weights
are float32 on CPU (bf16 was measured 9 times slower there) and the device's own type elsewhere; log-probabilities
always float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flytewheel import models
from flytewheel.dataset import Dataset
from flytewheel.evaluation import preference, regression, text
from flytewheel.evaluation.bootstrap import Comparison, compare_by_user, exponential_ratio, ratio
from flytewheel.evaluation.generate import find_end_tokens
from flytewheel.evaluation.questions import Answers, Questions, ask, gather_questions, score
from flytewheel.evaluation.report import Evaluation, describe, read_evaluation, write_evaluation
from flytewheel.evaluation.speakers import Speakers, kind_of
from flytewheel.progress import ProgressCallback, quiet_libraries
from flytewheel.recipe import BaseModelSpec, EvaluationSpec
from flytewheel.records import file_digest

__all__ = ["CODE_VERSION", "Evaluation", "describe", "evaluate", "read_evaluation"]

CODE_VERSION = "1"  # bump where a figure changes its meaning: Flyte caches results under it


def evaluate(
    dataset: Path,
    out: Path,
    *,
    candidate: Path | None,
    champion: Path | None,
    base: BaseModelSpec,
    evaluation: EvaluationSpec,
    seed: int,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Compares two models and writes `evaluation.json` and `answers.jsonl` into `out`.

    Args:
        dataset: A frozen data set; only its test part is read.
        out: Made if missing.
        candidate: Folder that training wrote, an adapter or full weights; none is the bare base.
        champion: The same of the model in service; none is the bare base.
        base: The model that both were trained from.
        evaluation: How many rows, how long answers, which intervals.
        seed: Decides the choice of rows and the resamples.
        progress: Told the rows done.

    Returns:
        What was written. Figures without rows, or with fewer than two users, are unknown.

    Raises:
        DatasetError: the data set cannot be read.
        BaseModelError: the base cannot be loaded.
        EvaluationError: what was trained does not fit the base, or a regression case is faulty.
    """
    data = Dataset(dataset)
    cases = data.regression("test")
    regression.check_cases(cases)
    device = models.find_device()
    if progress is not None:
        progress("loading the model", 0, 1)
    speakers = Speakers(base, {"candidate": candidate, "champion": champion}, device)
    with quiet_libraries():
        tokenizer = models.load_tokenizer(base)
    if progress is not None:
        progress("loading the model", 1, 1)
    questions = gather_questions(data, cases, tokenizer, speakers.model, base, evaluation, seed)
    end_tokens = find_end_tokens(speakers.model, tokenizer)

    def hear(name: str) -> Answers:
        with speakers.speaking(name) as model:
            return ask(model, tokenizer, questions, evaluation, end_tokens, name, progress)

    ours = hear("candidate")
    unchanged = _same_weights(candidate, champion)
    theirs = ours if unchanged else hear("champion")
    bare = theirs if champion is None else ours
    if champion is not None and candidate is not None:
        with speakers.speaking(None) as model:
            bare = score(model, tokenizer, questions, evaluation, "base", progress, pairs_only=True)
    passed = _check_answers(questions, ours), _check_answers(questions, theirs)
    result = Evaluation(
        metrics=_compare(questions, ours, theirs, bare, passed, evaluation, seed),
        newly_failing=_differing(questions, passed[1], passed[0]),
        newly_passing=_differing(questions, passed[0], passed[1]),
        skipped=questions.skipped,
        champion="base" if champion is None else kind_of(champion),
        dataset=data.card.digest,
        device=str(device),
        seed=seed,
        unchanged=unchanged,
    )
    write_evaluation(out, result, _list_answers(questions, ours, theirs, passed))
    return result


def _same_weights(candidate: Path | None, champion: Path | None) -> bool:
    """Whether there is nothing to compare: the bare base twice, or what was trained is the same bytes."""
    if candidate is None or champion is None:
        return candidate is champion
    names = [models.trained_files(folder) for folder in (candidate, champion)]
    return names[0] == names[1] and all(
        file_digest(candidate / name) == file_digest(champion / name) for name in names[0]
    )


def _check_answers(questions: Questions, answers: Answers) -> list[bool]:
    return [
        ids is not None and regression.passes(case, said)
        for (case, ids), said in zip(questions.cases, answers.cases, strict=True)
    ]


def _differing(questions: Questions, passing: Sequence[bool], failing: Sequence[bool]) -> tuple[str, ...]:
    """Ids of the cases that pass in the one list and fail in the other."""
    rows = zip(questions.cases, passing, failing, strict=True)
    return tuple(sorted(case.id for (case, _), first, second in rows if first and not second))


def _compare(
    questions: Questions,
    ours: Answers,
    theirs: Answers,
    bare: Answers,
    passed: tuple[list[bool], list[bool]],
    evaluation: EvaluationSpec,
    seed: int,
) -> dict[str, Comparison]:
    def compare(units: Sequence[str], first: Any, second: Any, statistic: Any = ratio) -> Comparison:
        return compare_by_user(
            units,
            np.asarray(first, dtype=np.float64),
            np.asarray(second, dtype=np.float64),
            statistic,
            samples=evaluation.bootstrap_samples,
            level=evaluation.confidence_level,
            seed=seed,
        )

    def share(values: Any) -> Any:
        column = np.asarray(values, dtype=np.float64)
        return np.stack([column, np.ones_like(column)], axis=1)

    scored = [row.user for row, _ in questions.scored]
    paired = [pair.user for pair, _, _ in questions.pairs]
    answered = [row.user for row, _ in questions.prompts]
    references = [row.completion for row, _ in questions.prompts]
    lengths = [text.count_words(reference) for reference in references]

    def each(answers: Answers, function: Callable[[str], float]) -> list[float]:
        return [function(said) for said in answers.texts]

    def overlap(answers: Answers) -> list[float]:
        return [text.rouge_l(said, wanted) for said, wanted in zip(answers.texts, references, strict=True)]

    def nats(answers: Answers) -> Any:
        return np.array([[-score.logprob_nats, score.tokens] for score in answers.scores]).reshape(-1, 2)

    def likelier(answers: Answers) -> Any:
        return share(preference.prefer_by_likelihood(answers.chosen, answers.rejected))

    def rewarded(answers: Answers) -> Any:
        if answers is bare:  # its reward against itself is zero on every pair: no figure
            return share(np.full(len(paired), np.nan))
        return share(preference.prefer_by_reward(answers.chosen, answers.rejected, bare.chosen, bare.rejected))

    def spoken(answers: Answers) -> Any:
        return np.stack([each(answers, text.count_words), lengths], axis=1)

    counts = [text.count_bleu(answers.texts, references) for answers in (ours, theirs)]
    units = regression.assign_units([case for case, _ in questions.cases])
    return {
        "perplexity": compare(scored, nats(ours), nats(theirs), exponential_ratio),
        "preference_accuracy": compare(paired, likelier(ours), likelier(theirs)),
        "regression_pass_rate": compare(units, share(passed[0]), share(passed[1])),
        "rouge_l": compare(answered, share(overlap(ours)), share(overlap(theirs))),
        "bleu": compare(answered, counts[0], counts[1], text.bleu),
        "degenerate_share": compare(
            answered, share(each(ours, text.is_degenerate)), share(each(theirs, text.is_degenerate))
        ),
        "length_ratio": compare(answered, spoken(ours), spoken(theirs)),
        "implicit_reward_accuracy": compare(paired, rewarded(ours), rewarded(theirs)),
    }


def _list_answers(
    questions: Questions, ours: Answers, theirs: Answers, passed: tuple[list[bool], list[bool]]
) -> Iterator[dict[str, Any]]:
    for index, (row, _) in enumerate(questions.prompts):
        yield {
            "kind": "test",
            "id": row.id,
            "user": row.user,
            "topic": row.topic,
            "prompt": row.prompt,
            "candidate": ours.texts[index],
            "champion": theirs.texts[index],
            "reference": row.completion,
        }
    for index, (case, _) in enumerate(questions.cases):
        yield {
            "kind": "regression",
            "id": case.id,
            "user": case.user,
            "topic": case.topic,
            "prompt": case.prompt,
            "candidate": ours.cases[index],
            "champion": theirs.cases[index],
            "check": case.check,
            "expected": case.expected,
            "candidate_passes": passed[0][index],
            "champion_passes": passed[1][index],
        }
