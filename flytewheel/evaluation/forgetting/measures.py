"""What is measured of forgetting."""

from __future__ import annotations

from pathlib import Path

from flytewheel.evaluation.forgetting.cases import BUNDLED, read_suite
from flytewheel.evaluation.forgetting.measure import ForgettingMeasure
from flytewheel.evaluation.measure import Measure
from flytewheel.recipe import ForgettingSpec


def list_forgetting(spec: ForgettingSpec) -> list[Measure]:
    """The measure; nothing where the recipe switches it off.

    Raises:
        EvaluationError: the suite is faulty.
    """
    if not spec.enable:
        return []
    cases = read_suite(Path(spec.suite) if spec.suite else BUNDLED)
    return [ForgettingMeasure(cases[: spec.max_cases], spec.min_cases)]
