"""The measures of an evaluation, in the order in which their figures are shown."""

from __future__ import annotations

from pathlib import Path

from flytewheel.dataset import Dataset
from flytewheel.evaluation.groundedness.measure import GroundednessMeasure
from flytewheel.evaluation.likelihood import LikelihoodMeasure
from flytewheel.evaluation.measure import Measure
from flytewheel.evaluation.suite.measure import SuiteMeasure
from flytewheel.evaluation.text.measure import TextMeasure
from flytewheel.recipe import EvaluationSpec


def list_measures(data: Dataset, evaluation: EvaluationSpec, *, seed: int, cache: Path | None = None) -> list[Measure]:
    """Everything that is measured on a data set; faults of its rows are told before a model is loaded.

    Raises:
        DatasetError: the data set cannot be read.
        EvaluationError: a regression case is faulty.
        EndpointError: the key of a model that is to be asked is not set.
    """
    return [
        LikelihoodMeasure(data, evaluation, seed),
        SuiteMeasure(data.regression("test")),
        TextMeasure(),
        *([GroundednessMeasure(evaluation.groundedness, cache)] if evaluation.groundedness.enable else []),
    ]
