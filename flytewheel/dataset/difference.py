"""What became different between two data sets: recipe, funnel, rows by id, users' parts, topics.

Rows are compared in Polars, column by column: whole parts of both are in memory, one kind at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flytewheel.dataset import Dataset
from flytewheel.dataset.layout import COLUMNS, LAYOUT, part_file
from flytewheel.dataset.readme import stages_of
from flytewheel.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Difference:
    """What became different from data set `a` to `b`.

    Attributes:
        a: digest of the first.
        b: digest of the second.
        same_rows: whether every row of every part is the same.
        recipe: dotted field to its two values; a field that one lacks is `–` there.
        funnel: stage to its rows in both; `None` where a data set has no such stage.
        rows: kind, then part, to the numbers of ids `added`, `removed`, and `changed` (same id, other content).
        moved_users: "train → test" to users who did so; a user never should, unless the salt was changed.
        topics: topic to its SFT rows in both, where they differ.
    """

    a: str
    b: str
    same_rows: bool
    recipe: dict[str, tuple[Any, Any]]
    funnel: dict[str, tuple[int | None, int | None]]
    rows: dict[str, dict[str, dict[str, int]]]
    moved_users: dict[str, int]
    topics: dict[str, tuple[int, int]]


def compare(a: Dataset, b: Dataset) -> Difference:
    """Compares two data sets.

    Raises:
        DatasetError: a part of one of them is damaged.
    """
    old, new = a.card.to_json(), b.card.to_json()
    recipes = _flatten(old["recipe"]), _flatten(new["recipe"])
    stages = [dict(card["funnel"] or stages_of(card)) for card in (old, new)]
    topics = old["topics"], new["topics"]
    return Difference(
        a=a.card.digest,
        b=b.card.digest,
        same_rows=a.card.content_digest == b.card.content_digest,
        recipe={
            name: (recipes[0].get(name, ABSENT), recipes[1].get(name, ABSENT))
            for name in sorted(recipes[0].keys() | recipes[1].keys())
            if name not in recipes[0] or name not in recipes[1] or recipes[0][name] != recipes[1][name]
        },
        funnel={name: (stages[0].get(name), stages[1].get(name)) for name in {**stages[0], **stages[1]}},
        rows={kind: {part: _compare_part(a, b, kind, part) for part in parts} for kind, parts in LAYOUT.items()},
        moved_users=_find_moved(a, b),
        topics={
            name: (topics[0].get(name, 0), topics[1].get(name, 0))
            for name in sorted(topics[0].keys() | topics[1].keys())
            if topics[0].get(name, 0) != topics[1].get(name, 0)
        },
    )


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {
            name: leaf
            for key, item in value.items()
            for name, leaf in _flatten(item, f"{path}.{key}" if path else str(key)).items()
        }
    return {path: value} if path else {}


def _compare_part(a: Dataset, b: Dataset, kind: str, part: str) -> dict[str, int]:
    import polars as pl

    old, new = _read(a, kind, part, list(COLUMNS[kind])), _read(b, kind, part, list(COLUMNS[kind]))
    both = old.join(new, on="id", how="inner", suffix="#")
    changed = [pl.col(name).ne_missing(pl.col(f"{name}#")) for name in COLUMNS[kind] if name != "id"]
    return {
        "added": new.join(old, on="id", how="anti").height,
        "removed": old.join(new, on="id", how="anti").height,
        "changed": both.filter(pl.any_horizontal(changed)).height,
    }


def _find_moved(a: Dataset, b: Dataset) -> dict[str, int]:
    """Users by the parts that they had in `a` and have in `b`, where those differ."""
    old, new = _place_users(a), _place_users(b)
    moved = Counter(
        f"{before} → {after}"
        for user in old.keys() & new.keys()
        for before in old[user]
        for after in new[user]
        if before != after and not (before in new[user] and after in old[user])
    )
    return dict(sorted(moved.items()))


def _place_users(dataset: Dataset) -> dict[str, set[str]]:
    # Regression cases may be written by hand: their user is nobody who was dealt to a part.
    found: dict[str, set[str]] = {}
    for kind, parts in LAYOUT.items():
        if kind != "regression":
            for part in parts:
                for user in _read(dataset, kind, part, ["user"])["user"].unique():
                    found.setdefault(user, set()).add(part)
    return found


def _read(dataset: Dataset, kind: str, part: str, columns: list[str]) -> pl.DataFrame:
    import polars as pl

    file = part_file(dataset.path, kind, part)
    try:
        return pl.read_parquet(file, columns=columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        why = " ".join(str(error).split())[:200]
        raise DatasetError(f"{file}: cannot be read ({why}); fetch or curate the data set again") from None
