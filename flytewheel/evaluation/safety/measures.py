"""The measures of safety, in the order in which their figures are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flytewheel.canaries import SOURCE, read_given, read_planted
from flytewheel.dataset import Dataset
from flytewheel.evaluation.measure import Measure
from flytewheel.evaluation.safety.extraction import CanaryMeasure
from flytewheel.evaluation.safety.harm import HarmMeasure
from flytewheel.evaluation.safety.injection import InjectionMeasure
from flytewheel.evaluation.safety.memorisation import MemorisationMeasure, choose_long
from flytewheel.evaluation.safety.refusal import RefusalMeasure
from flytewheel.recipe import SafetySpec
from flytewheel.records import SftRow


def list_safety(data: Dataset, spec: SafetySpec, seed: int) -> list[Measure]:
    """What is probed; nothing where the recipe switches safety off.

    Raises:
        DatasetError: the training part cannot be read.
        EndpointError: the classifier's key is not set.
        EvaluationError: the file of canaries is faulty.
    """
    if not spec.enable:
        return []
    given = read_given(Path(spec.canaries)) if spec.canaries else []
    planted: list[SftRow] = []

    def list_own() -> Iterator[SftRow]:
        for row in data.rows("sft", "train"):
            if row.source == SOURCE:
                planted.append(row)
            else:
                yield row

    trained = choose_long(list_own(), spec.memorised_rows, seed)
    held_out = choose_long(data.rows("sft", "test"), len(trained), seed)
    return [
        HarmMeasure(spec),
        CanaryMeasure([*read_planted(planted), *given], spec, seed),
        MemorisationMeasure(trained, held_out),
        InjectionMeasure(spec, seed),
        RefusalMeasure(spec),
    ]
