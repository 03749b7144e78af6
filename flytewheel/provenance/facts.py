"""Reads the facts of a manifest for people: names without the paths of a machine, figures in order, what kind it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from registry.manifest import Manifest

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the evaluation; bounds and the champion's side are None where they cannot be told."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    champion: float | None = None
    champion_low: float | None = None
    champion_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    level: float | None = None
    rows: int | None = None
    users: int | None = None


def section(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A fact that is a mapping; empty where it is none."""
    value = facts.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def text(facts: Mapping[str, Any], name: str) -> str:
    """A fact as a line of text; empty where there is none."""
    value = facts.get(name)
    return "" if value is None else " ".join(str(value).split())


def name_base(manifest: Manifest) -> str:
    """The base model's name: the hub's id, or the last part of a folder's path in the letters that the hub allows."""
    model = text(manifest.facts, "base_model")
    if _HUB_ID.fullmatch(model):
        return model
    return re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(model).name).strip("-.")[:96] or "unknown"


def kind_of(manifest: Manifest) -> str:
    """`adapter` or `full` by the files that were trained, else `base`."""
    for folder, kind in (("adapter/", "adapter"), ("weights/", "full")):
        if any(path.startswith(folder) for path in manifest.files):
            return kind
    return "base"


def list_figures(facts: Mapping[str, Any]) -> list[Figure]:
    """The figures of the evaluation, by name; those of older versions have no intervals."""
    evaluation = section(facts, "evaluation")
    if not evaluation:
        metrics = section(facts, "metrics")
        plain = sorted(name for name in metrics if "." not in name)
        return [Figure(name, number(metrics[name]), champion=number(metrics.get(f"{name}.champion"))) for name in plain]
    return [_read(name, section(evaluation, name)) for name in sorted(evaluation)]


def list_parity(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parity report's figures as (name, value), with what lies deeper joined by dots."""
    return sorted(_flatten("", section(facts, "parity")))


def number(value: Any) -> float | None:
    """A finite number, or None."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def spell(value: float | None) -> str:
    """A number for a table, to four digits."""
    return "–" if value is None else f"{value:.4g}"


def _read(name: str, found: Mapping[str, Any]) -> Figure:
    ours, theirs, apart = (section(found, side) for side in ("candidate", "champion", "difference"))
    value, low, high = _bounds(ours)
    champion, champion_low, champion_high = _bounds(theirs)
    difference, difference_low, difference_high = _bounds(apart)
    return Figure(
        name, value, low, high, champion, champion_low, champion_high, difference, difference_low, difference_high,
        level=number(ours.get("level")), rows=_count(found, "rows"), users=_count(found, "users"),
    )  # fmt: skip


def _bounds(side: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    return number(side.get("estimate")), number(side.get("low")), number(side.get("high"))


def _count(found: Mapping[str, Any], name: str) -> int | None:
    value = number(found.get(name))
    return None if value is None else int(value)


def _flatten(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, bool):
        yield name, "yes" if value else "no"
    elif (figure := number(value)) is not None:
        yield name, f"{figure:.6g}"
