"""The measures of an evaluation, in the order in which their figures are shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flytewheel.dataset import Dataset
from flytewheel.evaluation.forgetting.measures import list_forgetting
from flytewheel.evaluation.groundedness.measure import GroundednessMeasure
from flytewheel.evaluation.judging.measure import JudgingMeasure
from flytewheel.evaluation.judging.opening import Bench
from flytewheel.evaluation.likelihood import LikelihoodMeasure
from flytewheel.evaluation.measure import Measure
from flytewheel.evaluation.safety.measures import list_safety
from flytewheel.evaluation.suite.measure import SuiteMeasure
from flytewheel.evaluation.text.measure import TextMeasure
from flytewheel.progress import ProgressCallback
from flytewheel.recipe import EvaluationSpec


def list_measures(
    data: Dataset,
    evaluation: EvaluationSpec,
    *,
    seed: int,
    mutes: Mapping[str, str] | None = None,
    bench: Bench | None = None,
    cache: Path | None = None,
    progress: ProgressCallback | None = None,
) -> list[Measure]:
    """Everything that is measured on a data set; faults of its rows are told before a model is loaded.

    Raises:
        DatasetError: the data set cannot be read.
        EndpointError: the key of a model that is to be asked is not set.
        EvaluationError: a case or a file of canaries is faulty.
    """
    return [
        LikelihoodMeasure(data, evaluation, seed),
        SuiteMeasure(
            [*data.regression("test"), *data.regression("holdout")],
            [*data.regression("validation"), *data.regression("train")],
            limit=evaluation.max_suite_cases,
            mutes=mutes,
        ),
        TextMeasure(evaluation.max_new_tokens),
        JudgingMeasure.of_dataset(data, evaluation.judge, bench or Bench(), seed, progress),
        *([GroundednessMeasure(evaluation.groundedness, cache)] if evaluation.groundedness.enable else []),
        *list_safety(data, evaluation.safety, seed),
        *list_forgetting(evaluation.forgetting),
    ]
