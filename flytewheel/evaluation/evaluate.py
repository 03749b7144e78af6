"""Measures candidate and champion on the test part's users, and says how sure that is.

Both were trained from one base, whose bare self is the first champion (`speakers`). Every figure of the two comes from
the same rows, prompts and batches, and every interval from the same resamples of users; what is measured is listed in
`measures`. Weights are float32 on CPU (bf16 was measured 9 times slower there) and the device's own type elsewhere;
log-probabilities always float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flytewheel import models
from flytewheel.dataset import Dataset
from flytewheel.evaluation.asking import Ask, Questionnaire, Voice
from flytewheel.evaluation.choice import choose
from flytewheel.evaluation.generate import find_end_tokens
from flytewheel.evaluation.harness import Score, compare_tasks, open_harness
from flytewheel.evaluation.judging.opening import open_bench
from flytewheel.evaluation.measure import Compare, Examples, Heard
from flytewheel.evaluation.measures import list_measures
from flytewheel.evaluation.overlap import check_overlap
from flytewheel.evaluation.report import Evaluation, describe, read_evaluation, write_evaluation
from flytewheel.evaluation.safety.extraction import CanaryMeasure
from flytewheel.evaluation.safety.leaks import cover_line
from flytewheel.evaluation.speakers import Speakers, kind_of
from flytewheel.evaluation.topics import compare_topics
from flytewheel.progress import ProgressCallback, quiet_libraries
from flytewheel.recipe import BaseModelSpec, EvaluationSpec
from flytewheel.records import ReviewLabel, SftRow, file_digest

__all__ = ["CODE_VERSION", "Evaluation", "describe", "evaluate", "read_evaluation"]

CODE_VERSION = "3"  # bump where a figure changes its meaning: Flyte caches results under it
EXAMPLES = "examples"


def evaluate(
    dataset: Path,
    out: Path,
    *,
    candidate: Path | None,
    champion: Path | None,
    base: BaseModelSpec,
    evaluation: EvaluationSpec,
    seed: int,
    mutes: Mapping[str, str] | None = None,
    progress: ProgressCallback | None = None,
    reward_model: Path | None = None,
    labels: Sequence[ReviewLabel] = (),
    cache: Path | None = None,
) -> Evaluation:
    """Compares two models and writes `evaluation.json` and `answers.jsonl` into `out`.

    Args:
        dataset: A frozen data set; its test part, and of its training part what could have been learnt by heart;
            the two must not overlap.
        out: Made if missing.
        candidate: Folder that training wrote, an adapter or full weights; none is the bare base.
        champion: The same of the model in service; none is the bare base.
        base: The model that both were trained from.
        evaluation: How many rows, how long answers, which intervals.
        seed: Decides the choice of rows and the resamples.
        mutes: Why regression cases do not count for now, by id.
        progress: Told the rows done.
        reward_model: Folder that `train_reward` left, of this data set's train part; a judge, if the recipe likes.
        labels: What people said of these two models' answers.
        cache: Folder of kept verdicts of models that are asked over HTTP.

    Returns:
        What was written. Figures without rows, or with fewer than two users, are unknown.

    Raises:
        DatasetError: the data set cannot be read.
        BaseModelError: the base, or the reward model, cannot be loaded.
        EndpointError: a model that is asked over HTTP is away, refuses, or its key is not set.
        EvaluationError: the test part overlaps training (`overlap`), what was trained does not fit the base, or a
            regression case, a label or a task of lm-eval is faulty.
    """
    data = Dataset(dataset)
    check_overlap(data, [data])
    harness = open_harness(evaluation.lm_eval, seed)
    bench = open_bench(evaluation.judge, base=base, reward_model=reward_model, labels=labels, cache=cache)
    measures = list_measures(data, evaluation, seed=seed, mutes=mutes, bench=bench, cache=cache, progress=progress)
    device = models.find_device()
    if progress is not None:
        progress("loading the model", 0, 1)
    speakers = Speakers(base, {"candidate": candidate, "champion": champion}, device)
    with quiet_libraries():
        tokenizer: Any = models.load_tokenizer(base)
    if progress is not None:
        progress("loading the model", 1, 1)
    questions = Questionnaire(tokenizer, speakers.model.config, base, evaluation, seed=seed)
    rows = choose(data.sft("test"), evaluation.max_examples, seed)
    questions.add(EXAMPLES, [Ask(row.prompt) for row in rows], ())
    for each in measures:
        questions.add(each.name, each.asks(), each.weighs())
    end_tokens = find_end_tokens(speakers.model, tokenizer)

    scores: dict[str, dict[str, Score]] = {}

    def hear(name: str | None, **options: Any) -> dict[str, Voice]:
        with speakers.speaking(name) as model:
            if name is not None:
                if progress is not None and harness.tasks:
                    progress(f"lm-eval of {name}", 0, None)
                scores[name] = harness.score(model, tokenizer)
            return questions.hear(model, end_tokens, name or "base", progress, **options)

    ours = hear("candidate")
    unchanged = _same_weights(candidate, champion)
    theirs = ours if unchanged else hear("champion")
    bare = theirs if champion is None else ours
    if champion is not None and candidate is not None:
        bare = hear(None, of_base=True)
    speakers.release()  # a judge's model takes their room
    compare = Compare(evaluation.bootstrap_samples, evaluation.confidence_level, seed)
    examples = _pair_examples(rows, ours[EXAMPLES], theirs[EXAMPLES], tokenizer)
    found = {
        each.name: each.measure(Heard(examples, ours[each.name], theirs[each.name], bare[each.name]), compare)
        for each in measures
    }
    found["topics"] = compare_topics([one.rows for one in found.values()], compare, evaluation.topics)
    found["lm_eval"] = compare_tasks(scores["candidate"], scores.get("champion", scores["candidate"]), compare)
    result = Evaluation(
        metrics={name: figure for one in found.values() for name, figure in one.metrics.items()},
        counts={name: count for one in found.values() for name, count in one.counts.items()},
        details={name: dict(one.details) for name, one in found.items() if one.details},
        notes=tuple(note for one in found.values() for note in one.notes),
        skipped=questions.skipped,
        champion="base" if champion is None else kind_of(champion),
        dataset=data.card.digest,
        device=str(device),
        seed=seed,
        unchanged=unchanged,
        candidate="" if candidate is None else models.digest_trained(candidate),
    )
    secrets = [secret for each in measures if isinstance(each, CanaryMeasure) for secret in each.secrets]
    answers = [cover_line(line, secrets) for one in found.values() for line in one.answers]
    write_evaluation(out, result, answers)
    return result


def _pair_examples(rows: Sequence[SftRow], ours: Voice, theirs: Voice, tokenizer: Any) -> Examples:
    kept = [index for index in range(len(rows)) if ours.replies[index]]
    return Examples(
        tuple(rows[index] for index in kept),
        tuple(ours.replies[index][0] for index in kept),
        tuple(theirs.replies[index][0] for index in kept),
        tuple(len(tokenizer(rows[index].completion, add_special_tokens=False)["input_ids"]) for index in kept),
    )


def _same_weights(candidate: Path | None, champion: Path | None) -> bool:
    """Whether there is nothing to compare: the bare base twice, or what was trained is the same bytes."""
    if candidate is None or champion is None:
        return candidate is champion
    names = [models.trained_files(folder) for folder in (candidate, champion)]
    return names[0] == names[1] and all(
        file_digest(candidate / name) == file_digest(champion / name) for name in names[0]
    )
