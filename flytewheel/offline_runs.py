"""Runs as wandb left them on disk: read back without an account, without a network and without PostgreSQL.

wandb's own reader turns each `.wandb` file into one JSON record a line. It is asked directly, as `wandb leet inspect
--json` asks it (wandb/cli/leet.py): 0.03 s a file against 0.8 s by way of that command, which imports all of wandb.

A group is a turn, a job type its station. A station that was tried again left a wandb run for each try: the later one
counts, and goes on with the curve where it began.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import ComparisonError
from flytewheel.progress import ProgressCallback
from flytewheel.runs import RunRecord

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as wandb writes them
_TABLE = "run_table"  # type of the artifact that wandb makes of each table by itself
_TIMEOUT_S = 60.0
_READERS = 4


@dataclass(frozen=True, slots=True)
class _Try:
    """One wandb run. `artifacts` holds the facts of each by its type. `exit_code` is `None` where it was never closed;
    `said` is what its reader complained of.
    """

    group: str
    station: str
    project: str
    started_at: datetime
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    curve: tuple[dict[str, float], ...]
    artifacts: Mapping[str, Any]
    exit_code: int | None
    said: str


def read_offline_runs(
    folder: Path, *, announce: Callable[[str], None] = print, progress: ProgressCallback | None = None
) -> list[RunRecord]:
    """Reads the turns whose wandb runs lie under `folder`, at any depth.

    Args:
        folder: as `<home>/runs`, `<home>/runs/<run>` or a `wandb` folder.
        announce: is told of files that cannot be read or belong to no group, which are left out, and of what wandb's
            reader complains of, as a damaged record that it skipped.
        progress: is told the files read.

    Returns:
        The newest first. A turn has failed where a station's last try did, and is running where one was never closed.

    Raises:
        ComparisonError: there is no run of a group, or wandb's reader is missing.
    """
    files = sorted({file.resolve() for file in folder.rglob("run-*.wandb")})  # `latest-run` is a link
    if not files:
        raise ComparisonError(
            f"{folder}: expected offline wandb runs, found no run-*.wandb under it: name a folder above "
            "wandb/offline-run-*"
        )
    core = _find_reader()
    with ThreadPoolExecutor(_READERS) as pool:
        tried = []
        for one in pool.map(lambda file: _read_try(core, file), files):
            tried.append(one)
            if progress is not None:
                progress("wandb runs read", len(tried), len(files))
    groups: dict[str, list[_Try]] = {}
    for file, found in zip(files, tried, strict=True):
        if isinstance(found, str):
            announce(f"{file}: left out, {found}")
        else:
            if found.said:
                announce(f"{file}: {found.said}")
            groups.setdefault(found.group, []).append(found)
    if not groups:
        raise ComparisonError(
            f"{folder}: none of its {len(files):,} wandb runs can be compared (the reasons are above)"
        )
    runs = [_join(group, sorted(tries, key=lambda one: one.started_at)) for group, tries in groups.items()]
    return sorted(runs, key=lambda run: run.started_at, reverse=True)


def _find_reader() -> str:
    from wandb.errors import WandbCoreNotAvailableError
    from wandb.util import get_core_path

    try:
        return str(get_core_path())
    except WandbCoreNotAvailableError as error:
        raise ComparisonError(f"wandb cannot read its runs ({error}); install wandb again") from None


def _read_try(core: str, file: Path) -> _Try | str:
    """What the file holds, or why it is left out."""
    command = [
        core,
        "leet",
        "inspect",
        "--no-observability",
        "--json",
        "--run-file",
        str(file),
        str(file.parent.parent),
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"wandb did not read it within {_TIMEOUT_S:g} s"
    records = _parse(done.stdout.decode("utf-8", errors="replace").splitlines())
    described: dict[str, Any] = {}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    curve: list[dict[str, float]] = []
    artifacts: dict[str, Any] = {}
    exit_code: int | None = None
    for record in records:
        kind = record.get("type", "")
        body = record.get(kind) or {}
        if kind == "run":
            described = described or body
            config.update((body.get("config") or {}).get("update") or {})
        elif kind == "config":
            config.update(body.get("update") or {})
        elif kind == "summary":
            update = _without_tables(body.get("update") or {})
            summary.update({key: _restore(value) for key, value in update.items()})
        elif kind == "history":
            point = _point(_without_tables(body.get("item") or {}))
            if point:
                curve.append(point)
        elif kind == "artifact" and body.get("type") != _TABLE:
            artifacts[str(body.get("type"))] = json.loads(body.get("metadata") or "{}")
        elif kind == "exit":
            exit_code = int(body.get("exit_code") or 0)
    said = " ".join(done.stderr.decode("utf-8", errors="replace").split())[:200]
    if not described:
        return f"wandb found no run in it{f' ({said})' if said else ''}"
    if not described.get("run_group"):
        return "it has no group"
    return _Try(
        group=described["run_group"],
        station=described.get("job_type") or described.get("display_name") or described.get("run_id") or "run",
        project=described.get("project") or "",
        started_at=_time(described.get("start_time")),
        config={key: value for key, value in config.items() if key != "_wandb"},
        summary=summary,
        curve=tuple(curve),
        artifacts=artifacts,
        exit_code=exit_code,
        said=said,
    )


def _parse(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The records up to the first line that is cut, as after a kill."""
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            break
        if isinstance(record, dict):
            records.append(record)
    return records


def _without_tables(item: Mapping[str, Any]) -> dict[str, Any]:
    """What was logged, without the places and sizes of tables: these are no figures."""
    tables = tuple(key.removesuffix("_type") for key, value in item.items() if key.endswith("._type") and value)
    return {key: value for key, value in item.items() if not (tables and key.startswith(tables))}


def _point(item: Mapping[str, Any]) -> dict[str, float]:
    """A logged step: its figures under their names, the step as `step`."""
    numbers = {key: _restore(value) for key, value in item.items()}
    point = {
        key: value
        for key, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not key.startswith("_")
    }
    return {**point, "step": numbers["_step"]} if point and isinstance(numbers.get("_step"), int | float) else {}


def _restore(value: Any) -> Any:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _time(text: str | None) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _join(group: str, tries: list[_Try]) -> RunRecord:
    """One turn out of its tries by time."""
    stations: dict[str, list[_Try]] = {}
    for one in tries:
        stations.setdefault(one.station, []).append(one)
    config = tries[-1].config
    recipe = config["recipe"] if isinstance(config.get("recipe"), Mapping) else config
    reports = {station: _report(of_station) for station, of_station in stations.items()}
    states = {report["status"] for report in reports.values()}
    return RunRecord(
        run_id=group,
        name=str(recipe.get("name") or tries[-1].project),
        status="failed" if "failed" in states else "running" if "running" in states else "succeeded",
        station=tries[-1].station,
        started_at=tries[0].started_at,
        recipe=recipe,
        reports=reports,
    )


def _report(tries: list[_Try]) -> dict[str, Any]:
    """The report that the station's tracker was given, nested again, with the curve and the artifacts of all tries."""
    curve: list[dict[str, float]] = []
    flat: dict[str, Any] = {}
    for one in tries:
        begun = min((point["step"] for point in one.curve), default=math.inf)
        curve = [point for point in curve if point["step"] < begun] + list(one.curve)
        flat.update(one.summary)
    report: dict[str, Any] = {"seconds": flat.get("_runtime")}
    for key, value in flat.items():
        if not key.startswith("_"):
            _put(report, key, value)
    code = tries[-1].exit_code
    skipped = isinstance(report.get("skipped"), str) or report.get("method") == "skipped"
    status = "running" if code is None else "failed" if code else "skipped" if skipped else "succeeded"
    artifacts = {kind: facts for one in tries for kind, facts in one.artifacts.items()}
    return {**report, "status": status, "curve": curve, "artifacts": artifacts}


def _put(report: dict[str, Any], key: str, value: Any) -> None:
    """Puts `a.b.c` where a report has it; a name with a dot of its own that stands in the way stays flat."""
    *path, last = key.split(".")
    place: Any = report
    for name in path:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            report[key] = value
            return
    place[last] = value
