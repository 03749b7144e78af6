"""Where the rows of a data set lie and which columns they have.

One parquet schema a kind, typed in full and without metadata, so that `datasets`, Polars, DuckDB and pyarrow read the
parts alike. pyarrow is imported inside the functions: commands that list files need none.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from flytewheel.records import HOLDOUT, PARTS, Preference, RegressionCase, SftRow, Trajectory, Unpaired

CARD, README, FIGURES = "card.json", "README.md", "figures"
PICTURES = ("funnel", "scores", "lengths", "topics", "reasons")
QUARANTINED = "quarantined"  # the kind and the file of events that are kept out until a person releases them

LAYOUT: dict[str, tuple[str, ...]] = {
    "sft": (*PARTS, HOLDOUT),
    "preference": (*PARTS, HOLDOUT),
    "unpaired": (*PARTS, HOLDOUT),
    "trajectory": (*PARTS, HOLDOUT),
    "regression": (*PARTS, HOLDOUT),
}
KINDS = tuple(LAYOUT)
RECORDS: dict[str, type[Any]] = {
    "sft": SftRow,
    "preference": Preference,
    "unpaired": Unpaired,
    "trajectory": Trajectory,
    "regression": RegressionCase,
}

# text: string · turns: list<struct<role, content>> · texts, numbers: lists · number: double · count: int64
# truth: bool
# A column may be added at a record's end, with a default: parts that were written before it are read with the default.
COLUMNS: dict[str, dict[str, str]] = {
    "sft": {
        "id": "text", "user": "text", "topic": "text", "prompt": "turns", "completion": "text", "reward": "number",
        "quality": "number", "source": "text", "interactions": "texts", "events": "texts", "weight": "number",
        "surprise": "number",
    },
    "preference": {
        "id": "text", "user": "text", "topic": "text", "prompt": "turns", "chosen": "text", "rejected": "text",
        "margin": "number", "source": "text", "similarity": "number", "interactions": "texts", "events": "texts",
        "weight": "number",
    },
    "unpaired": {
        "id": "text", "user": "text", "topic": "text", "prompt": "turns", "completion": "text", "label": "truth",
        "interactions": "texts", "events": "texts", "weight": "number",
    },
    "trajectory": {
        "id": "text", "user": "text", "topic": "text", "messages": "turns", "rewards": "numbers", "reward": "number",
        "interactions": "texts", "events": "texts",
    },
    "regression": {
        "id": "text", "user": "text", "topic": "text", "prompt": "turns", "check": "text", "expected": "text",
        "samples": "count", "temperature": "number", "min_pass_rate": "number", "tolerance": "number",
        "threshold": "number", "ignore_case": "truth", "origin": "text", "held_out": "truth", "note": "text",
        "interactions": "texts", "events": "texts",
    },
    QUARANTINED: {"event_id": "text", "interaction_id": "text", "user_id": "text", "reason": "text"},
}  # fmt: skip
MAY_BE_NULL = frozenset({("sft", "surprise"), ("trajectory", "reward")})


def part_file(folder: Path, kind: str, part: str = "") -> Path:
    """The parquet file of one part; `kind` "quarantined" has one file and no parts."""
    return folder / f"{QUARANTINED}.parquet" if kind == QUARANTINED else folder / kind / f"{part}.parquet"


def all_parts() -> list[tuple[str, str]]:
    """Every (kind, part) that a complete data set has, the quarantined events last with an empty part."""
    return [*((kind, part) for kind, parts in LAYOUT.items() for part in parts), (QUARANTINED, "")]


def name_files(folder: Path) -> list[Path]:
    """Every file that a data set in `folder` may have, the card last; nothing else is read, sent or removed."""
    rows = [part_file(folder, kind, part) for kind, part in all_parts()]
    return [*rows, *(folder / FIGURES / f"{name}.svg" for name in PICTURES), folder / README, folder / CARD]


def list_files(folder: Path) -> list[Path]:
    """The files that the data set in `folder` has, the card last."""
    return [path for path in name_files(folder) if path.is_file()]


@cache
def schema_of(kind: str) -> Any:
    """The pyarrow schema of a kind of row."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "number": pa.float64(),
        "count": pa.int64(),
        "numbers": pa.list_(pa.float64()),
        "truth": pa.bool_(),
        "turns": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    }
    return pa.schema([(name, types[shape]) for name, shape in COLUMNS[kind].items()])
