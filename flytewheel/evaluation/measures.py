"""The measures of an evaluation, in the order in which their figures are shown."""

from __future__ import annotations

from flytewheel.dataset import Dataset
from flytewheel.evaluation.forgetting.measures import list_forgetting
from flytewheel.evaluation.likelihood import LikelihoodMeasure
from flytewheel.evaluation.measure import Measure
from flytewheel.evaluation.safety.measures import list_safety
from flytewheel.evaluation.suite.measure import SuiteMeasure
from flytewheel.evaluation.text.measure import TextMeasure
from flytewheel.recipe import EvaluationSpec


def list_measures(data: Dataset, evaluation: EvaluationSpec, *, seed: int) -> list[Measure]:
    """Everything that is measured on a data set; faults of its rows are told before a model is loaded.

    Raises:
        DatasetError: the data set cannot be read.
        EndpointError: the key of the safety classifier is not set.
        EvaluationError: a case or a file of canaries is faulty.
    """
    return [
        LikelihoodMeasure(data, evaluation, seed),
        SuiteMeasure(data.regression("test")),
        TextMeasure(),
        *list_safety(data, evaluation.safety, seed),
        *list_forgetting(evaluation.forgetting),
    ]
