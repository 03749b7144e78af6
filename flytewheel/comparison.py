"""Runs side by side: what was asked of each, what went in, how training went, what came out.

The first run is the measure: every other one is marked where it differs. What a run does not have is `None`, never a
neutral number. A recipe's key is shown only where the runs differ in it, so that the reason stands beside the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, TypeGuard

from flytewheel.errors import ComparisonError
from flytewheel.figures import describe_interval
from flytewheel.records import Interval, to_jsonable
from flytewheel.runs import RunRecord
from flytewheel.summary import METRICS

ABSENT = "–"
CURVES = {  # a point's key to what people call it
    "loss": "training loss",
    "eval_loss": "validation loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
}
_TRAINING = ("train_sft", "align")  # shown in this order, then any other station that left a curve
_FIGURES = {
    "rows": "rows",
    "steps": "steps",
    "first_loss": "first loss",
    "last_loss": "last loss",
    "eval_loss": "validation loss",
    "tokens": "tokens",
    "seconds": "seconds",
    "device": "device",
}
_LISTED = 8  # known ids in an error
_ENDED = ("succeeded", "skipped")


@dataclass(frozen=True, slots=True)
class Row:
    """One fact of every run. `values` holds numbers, texts and intervals, `None` where a run has none; of facts that
    always differ, as the time, `compared` is false.
    """

    section: str
    name: str
    values: tuple[Any, ...]
    compared: bool = True

    def texts(self) -> tuple[str, ...]:
        """The values in words."""
        return tuple(_describe(value) for value in self.values)

    def changes(self) -> tuple[str, ...]:
        """How each differs from the first: `+0.5`, or `≠`; empty where it does not, or where one of both is missing."""
        return tuple(_change(self.values[0], value) if self.compared else "" for value in self.values)


@dataclass(frozen=True, slots=True)
class Panel:
    """One curve of one station: for each run its points `(step, value)` by rising step; none where it has no curve."""

    station: str
    metric: str
    lines: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs in the order in which they are shown, their facts and their curves. `notes` say how far these can be
    compared.
    """

    runs: tuple[RunRecord, ...]
    rows: tuple[Row, ...]
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What a program reads; a number that is not finite is `null`."""
        ids = [run.run_id for run in self.runs]
        rows = [
            {
                "section": row.section,
                "name": row.name,
                "values": dict(zip(ids, row.values, strict=True)),
                "changes": {run_id: change for run_id, change in zip(ids, row.changes(), strict=True) if change},
            }
            for row in self.rows
        ]
        curves = [
            {"station": panel.station, "metric": panel.metric, "points": dict(zip(ids, panel.lines, strict=True))}
            for panel in self.panels
        ]
        found: dict[str, Any] = _finite(to_jsonable({"runs": ids, "rows": rows, "curves": curves, "notes": self.notes}))
        return found


def choose(index: Sequence[tuple[str, str, str]], run_ids: Sequence[str], last: int, *, where: str) -> list[str]:
    """Chooses the runs to compare.

    Args:
        index: id, name and status of every known run, the newest first.
        run_ids: those asked for; none: the `last` newest finished ones of the name of the newest finished run.
        last: how many, 2 or more.
        where: they were looked for, for the error.

    Returns:
        Ids in the order in which they were asked for, or the oldest first.

    Raises:
        ComparisonError: one is unknown, or fewer than two are finished.
    """
    known = [run_id for run_id, _, _ in index]
    unknown = [run_id for run_id in run_ids if run_id not in known]
    if unknown:
        names = ", ".join(repr(run_id) for run_id in unknown)
        raise ComparisonError(f"no run {names} in {where}; known, newest first: {_list(known)}")
    if run_ids:
        return list(run_ids)
    finished = [(run_id, name) for run_id, name, status in index if status == "succeeded"]
    newest = finished[0][1] if finished else None
    chosen = [run_id for run_id, name in finished if name == newest][:last]
    if len(chosen) < 2:
        of = f" of {newest!r}" if newest else ""
        raise ComparisonError(
            f"expected 2 finished runs{of} or more in {where}, found {len(chosen)}: finish another with "
            f"`flytewheel run`, or name runs by id (known, newest first: {_list(known)})"
        )
    return chosen[::-1]


def compare(runs: Sequence[RunRecord]) -> Comparison:
    """Puts runs side by side, the first as the measure."""
    rows = [row for row in _list_rows(runs) if any(value is not None for value in row.values)]
    panels = [
        Panel(station, metric, lines)
        for station in _list_stations(runs)
        for metric in CURVES
        if any(lines := tuple(read_curve(run.reports.get(station, {}), metric) for run in runs))
    ]
    notes = []
    digests = {run.reports.get("curate", {}).get("digest") for run in runs}
    if len(digests) > 1 and any(row.section == "evaluate" for row in rows):
        notes.append("The data sets differ: each run was evaluated on its own held-out rows, against its own champion.")
    if len({run.name for run in runs}) > 1:
        notes.append("The runs are of models with different names.")
    return Comparison(tuple(runs), tuple(rows), tuple(panels), tuple(notes))


def read_curve(report: Mapping[str, Any], metric: str) -> tuple[tuple[float, float], ...]:
    """The points `(step, value)` of a training report's curve, by rising step; of two at one step the later counts."""
    points = {
        float(point["step"]): float(point[metric])
        for point in report.get("curve") or ()
        if _is_number(point.get("step")) and math.isfinite(point["step"]) and _is_number(point.get(metric))
    }
    return tuple(sorted(points.items()))


def describe_stations(run: RunRecord) -> str:
    """What a run trained, for a legend: `train_sft (sft, 120 steps), align (dpo, 25 steps)`."""
    told = []
    for station in _list_stations([run]):
        report = run.reports.get(station)
        if report is not None:
            steps = report.get("steps")
            ended = (
                f", {steps:,} step{'' if steps == 1 else 's'}"
                if _is_number(steps) and report.get("method") != "skipped"
                else ""
            )
            told.append(f"{station} ({report.get('method') or report['status']}{ended})")
    return ", ".join(told) or "nothing trained"


def _list_rows(runs: Sequence[RunRecord]) -> Iterator[Row]:
    yield Row("run", "started", tuple(f"{run.started_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for run in runs), False)
    yield Row("run", "status", tuple(_state(run) for run in runs))
    recipes = [dict(_flatten(run.recipe)) for run in runs]
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        found = [recipe.get(key, ABSENT) for recipe in recipes]
        if any(value != found[0] for value in found):
            yield Row("recipe", key, tuple(_shown(recipe[key]) if key in recipe else None for recipe in recipes))
    yield from _list_data([run.reports.get("curate", {}) for run in runs])
    for station in _list_stations(runs):
        yield from _list_training(station, [run.reports.get(station, {}) for run in runs])
    yield from _list_metrics([_part(run.reports.get("evaluate", {}), "metrics") for run in runs])
    yield Row("outcome", "verdict", tuple(run.reports.get("gate", {}).get("decision") for run in runs))
    yield Row("outcome", "version", tuple(run.reports.get("register", {}).get("version") for run in runs))
    yield Row("outcome", "seconds, all stations", tuple(_sum_seconds(run) for run in runs))


def _list_data(reports: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    yield Row("data set", "digest", tuple(report.get("digest") for report in reports))
    for name in ("interactions", "events"):
        yield Row("data set", name, tuple(report.get(name) for report in reports))
    counts = [_part(report, "counts") for report in reports]
    for kind in dict.fromkeys(kind for count in counts for kind in count):
        kept = tuple(sum(_part(count, kind).values()) if kind in count else None for count in counts)
        yield Row("data set", f"{kind} rows", kept)


def _list_training(station: str, reports: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    yield Row(station, "method", tuple(_method(report) for report in reports))
    for key, name in _FIGURES.items():
        yield Row(station, name, tuple(_figure(report, key) for report in reports))


def _list_metrics(metrics: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    there = {name for each in metrics for name in each}
    names = [name for name in METRICS if name in there] + sorted(there - set(METRICS))
    for name in names:
        for part, told in (("candidate", name), ("difference", f"{name} − champion")):
            yield Row("evaluate", told, tuple(_interval(_part(_part(each, name), part)) for each in metrics))


def _list_stations(runs: Sequence[RunRecord]) -> list[str]:
    others = {name for run in runs for name, report in run.reports.items() if report.get("curve")}
    return [*_TRAINING, *sorted(others - set(_TRAINING))]


def _state(run: RunRecord) -> str:
    return run.status if run.status == "succeeded" or not run.station else f"{run.status} at {run.station}"


def _method(report: Mapping[str, Any]) -> str | None:
    if report.get("method") == "skipped":
        return f"skipped: {report['reason']}" if report.get("reason") else "skipped"
    if report.get("status") in _ENDED:
        return str(report.get("method") or report["status"])
    if not report:
        return None
    return f"{report['status']}: {report['error']}" if report.get("error") else str(report["status"])


def _figure(report: Mapping[str, Any], key: str) -> Any:
    if report.get("method") == "skipped":
        return None
    if key == "tokens" and report.get(key) is None:  # TRL counts them along the curve
        curve = read_curve(report, "num_tokens")
        return int(curve[-1][1]) if curve and math.isfinite(curve[-1][1]) else None
    value = report.get(key)
    return round(value, 1) if key == "seconds" and _is_number(value) else value


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`; an empty one where there is none, as in figures that other programs tracked."""
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _interval(value: Mapping[str, Any]) -> Interval | None:
    return Interval(value.get("estimate"), value.get("low"), value.get("high")) if value else None


def _sum_seconds(run: RunRecord) -> float | None:
    spent = [report.get("seconds") for report in run.reports.values()]
    known = [seconds for seconds in spent if _is_number(seconds)]
    return round(sum(known), 1) if known else None


def _flatten(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flatten(item, f"{path}{key}.")
        else:
            yield f"{path}{key}", item


def _shown(value: Any) -> Any:
    """A recipe's value: numbers and texts as they are, the rest (lists, yes and no, nothing) as JSON."""
    return value if _is_number(value) or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _describe(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, Interval):
        return describe_interval(value)
    if not _is_number(value):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+}"
    return f"{value:,}" if isinstance(value, int) else _short(value)


def _short(value: float, sign: str = "") -> str:
    digits = 3 if sign else 4
    return f"{value:{sign},.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:{sign}.{digits}g}"


def _change(first: Any, value: Any) -> str:
    if first is None or value is None:
        return ""
    if isinstance(first, Interval) and isinstance(value, Interval):
        return _change(first.estimate, value.estimate)
    if not (_is_number(first) and _is_number(value)):
        return "≠" if first != value else ""
    if first == value or (math.isnan(first) and math.isnan(value)):
        return ""
    if not math.isfinite(value - first):
        return "≠"
    return f"{value - first:+,}" if isinstance(first, int) and isinstance(value, int) else _short(value - first, "+")


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _list(known: Sequence[str]) -> str:
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    return (", ".join(known[:_LISTED]) or "none") + more
