"""Lets both models take tasks of EleutherAI's lm-eval harness, and compares them document by document.

lm-eval decides what a task asks and how an answer is scored; the interval is ours. Its own is of one model alone and
says nothing of a difference, so its values by document are paired and documents are resampled (`Compare`). That works
for scores whose whole is a mean, a perplexity or bits a byte. What is no sum over
documents (corpus BLEU, F1, Matthews) keeps lm-eval's own figure, without an interval: `min` and `max` can be asked of
it, `improve` holds.

Tasks are opened before a model is loaded, so that a fault costs seconds. Few-shot examples are drawn by the run's seed,
the same for both. Nothing that a task marks as unsafe code is run.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.bootstrap import Comparison, Statistic, exponential_ratio, ratio
from flytewheel.evaluation.measure import Compare, Measured
from flytewheel.progress import quiet_libraries
from flytewheel.recipe.lm_eval import LM_EVAL, LmEvalSpec
from flytewheel.records import Interval

INSTALL = "pip install 'flytewheel[lm-eval]'"
_UNFILTERED = "none"  # lm-eval's name for answers as they were given


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of one model.

    Attributes:
        whole: lm-eval's own figure over all documents.
        values: what each document gave, by its number; a pair where the task weights documents.
        kind: the name of the function that makes the figure of the values.
        lower_is_better: as the task says; `None`: it does not.
    """

    whole: float | None
    values: Mapping[int, Any]
    kind: str
    lower_is_better: bool | None


@dataclass(frozen=True, slots=True)
class Harness:
    """Opened tasks, ready for a model; `tasks` are lm-eval's own objects."""

    spec: LmEvalSpec
    seed: int
    tasks: Sequence[Any] = field(default=())

    def score(self, model: Any, tokenizer: Any) -> dict[str, Score]:
        """Lets a loaded model take every task.

        Returns:
            Figures by `task/metric`; `task/metric,filter` where answers were filtered before.

        Raises:
            EvaluationError: a task cannot be taken.
        """
        if not self.tasks:
            return {}
        with _quiet():
            from lm_eval import simple_evaluate
            from lm_eval.models.huggingface import HFLM

            try:
                found: Any = simple_evaluate(
                    model=HFLM(
                        pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=self.spec.batch_size
                    ),
                    tasks=list(self.tasks),
                    limit=self.spec.limit,
                    apply_chat_template=self.spec.chat_template,
                    bootstrap_iters=0,
                    log_samples=True,
                    random_seed=None,
                    numpy_random_seed=None,
                    torch_random_seed=self.seed,
                    fewshot_random_seed=self.seed,
                )
            except Exception as error:  # tasks run code of many authors
                raise EvaluationError(
                    f"evaluation.lm_eval: lm-eval broke off ({_line(error)}); correct the task's file or take it out"
                ) from None
        return {
            name: score for task in self.tasks for name, score in _read_scores(task, found["samples"], found["results"])
        }


def open_harness(spec: LmEvalSpec, seed: int) -> Harness:
    """Opens the tasks with their data sets; without any, lm-eval need not be installed.

    Raises:
        EvaluationError: lm-eval is not installed, the folder is missing, a task is unknown, cannot be opened, or takes
            what is not run here.
    """
    if not spec.tasks:
        return Harness(spec, seed)
    if importlib.util.find_spec("lm_eval") is None:
        raise EvaluationError(f"evaluation.lm_eval.tasks: lm-eval is not installed; {INSTALL}, or leave tasks empty")
    if spec.include is not None and not Path(spec.include).expanduser().is_dir():
        raise EvaluationError(
            f"evaluation.lm_eval.include: no folder {spec.include!r}; name the folder of your task files, or write null"
        )
    include = None if spec.include is None else str(Path(spec.include).expanduser())
    opened: dict[str, Any] = {}
    with _quiet():
        from lm_eval.tasks import TaskManager

        manager = TaskManager(include_path=include)
        for name in spec.tasks:
            if name not in manager.all_tasks:
                near = get_close_matches(name, manager.all_tasks, n=3)
                meant = f"did you mean {', '.join(near)}? " if near else ""
                raise EvaluationError(
                    f"evaluation.lm_eval.tasks: unknown task {name!r}; {meant}`lm-eval ls tasks` lists them, "
                    "evaluation.lm_eval.include names a folder of your own"
                )
            opened |= _open(manager, name)
    for name, task in opened.items():
        for mark, what in (("UNSAFE_CODE", "runs code that a model wrote"), ("MULTIMODAL", "asks about pictures")):
            if getattr(task, mark, False):
                raise EvaluationError(f"evaluation.lm_eval.tasks: {name} {what}, which is not done here; take it out")
    return Harness(spec, seed, tuple(opened.values()))


def compare_tasks(ours: Mapping[str, Score], theirs: Mapping[str, Score], compare: Compare) -> Measured:
    """Compares what both models scored, paired by document."""
    metrics: dict[str, Comparison] = {}
    notes = []
    for name, one in ours.items():
        other = theirs.get(name)
        if other is None:
            notes.append(f"{LM_EVAL}{name}: the champion has no such figure")
            continue
        metrics[LM_EVAL + name] = replace(_compare(one, other, compare), lower_is_better=one.lower_is_better is True)
        if one.kind not in _STATISTICS:
            notes.append(f"{LM_EVAL}{name} is no sum over documents ({one.kind}): it has no interval")
        if one.lower_is_better is None:
            notes.append(
                f"{LM_EVAL}{name}: the task does not say which way is better (higher_is_better); more is taken"
            )
    details = {name: {"documents": len(one.values), "made by": one.kind} for name, one in ours.items()}
    return Measured(metrics=metrics, details=details, notes=tuple(notes))


def _compare(one: Score, other: Score, compare: Compare) -> Comparison:
    documents = sorted(one.values.keys() & other.values.keys())
    made = _STATISTICS.get(one.kind)
    columns = [_columns(side, documents) for side in (one, other)] if made else []
    if made is None or any(column is None for column in columns):
        known = one.whole is not None and other.whole is not None
        gap = one.whole - other.whole if known else None  # type: ignore[operator]
        ours, theirs, apart = (Interval(value, None, None, compare.level) for value in (one.whole, other.whole, gap))
        return Comparison(ours, theirs, apart, len(documents), len(documents))
    units = [f"{document:09d}" for document in documents]
    return compare(units, columns[0], columns[1], statistic=made)


def _columns(score: Score, documents: Sequence[int]) -> NDArray[np.float64] | None:
    """(documents, 2) value and weight; nothing where a value is no number."""
    try:
        rows = np.asarray([score.values[document] for document in documents], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if rows.ndim == 1:
        return np.stack([rows, np.ones_like(rows)], axis=1)
    return rows if rows.ndim == 2 and rows.shape[1] == 2 else None


def _surprise(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp of minus the first column over the second: log-probabilities to perplexity."""
    return exponential_ratio(sums * np.array([-1.0, 1.0]))


def _bits(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-ratio(sums) / math.log(2))


_STATISTICS: Mapping[str, Statistic] = {  # by the name of lm-eval's function
    "mean": ratio,
    "perplexity": _surprise,
    "weighted_perplexity": _surprise,
    "bits_per_byte": _bits,
}


def _read_scores(task: Any, samples: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[tuple[str, Score]]:
    name = task.task_name
    made, higher = task.aggregation(), task.higher_is_better()
    values: dict[tuple[str, str], dict[int, Any]] = {}
    for sample in samples[name]:
        for metric in sample["metrics"]:
            values.setdefault((metric, sample["filter"]), {})[int(sample["doc_id"])] = sample[metric]
    for (metric, kept), found in values.items():
        whole = results[name].get(f"{metric},{kept}")
        number = float(whole) if isinstance(whole, int | float | np.number) else math.nan
        function = made.get(metric)
        kind = "mean" if function is None else getattr(function, "__name__", type(function).__name__)
        side = higher.get(metric)
        label = f"{name}/{metric}" if kept == _UNFILTERED else f"{name}/{metric},{kept}"
        yield label, Score(number if math.isfinite(number) else None, found, kind, None if side is None else not side)


def _open(manager: Any, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = manager.load([name])["tasks"]
    except Exception as error:  # a file, a data set, code of the task's own, or the hub
        raise EvaluationError(
            f"evaluation.lm_eval.tasks: {name} cannot be opened ({_line(error)}); a data set of the hub has to be "
            "reachable or cached, one of your own is named in its file (dataset_path: json, data_files)"
        ) from None
    return found


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences lm-eval too, whose bars would tear ours apart and whose every task warns of what it lets stand."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with quiet_libraries(), redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
