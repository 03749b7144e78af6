"""A frozen data set on disk: where its rows lie and what its card says. Curation writes it, every later station reads
it.

    card.json                            the card: counts, reasons, digests
    sft/{train,validation,test}.jsonl          SftRow
    preference/{train,validation,test}.jsonl   Preference
    unpaired/{train,validation,test}.jsonl     Unpaired
    regression/{validation,test}.jsonl         RegressionCase

Files are canonical JSON lines, so the same rows are the same bytes; `card.digest` is computed over window, recipe
slice and code version (the *name* of the data set), `card.content_digest` over the row files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flytewheel.errors import DatasetError
from flytewheel.records import (
    PARTS,
    Message,
    Preference,
    RegressionCase,
    SftRow,
    Unpaired,
    file_digest,
    read_jsonl,
    to_jsonable,
)
from flytewheel.records import (
    digest as digest_of,
)

KINDS = ("sft", "preference", "unpaired", "regression")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of curation: how many rows came and went. `dropped` counts by reason; `examples` are redacted texts.

    `changed` counts what was altered in the rows that stayed, by kind (personal data replaced).
    """

    name: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What a data set holds and how it came about. `counts[kind][part]` are rows."""

    digest: str
    content_digest: str
    sources: tuple[str, ...]
    interactions: int
    events: int
    steps: tuple[Step, ...]
    counts: dict[str, dict[str, int]]
    users: dict[str, int]
    topics: dict[str, int]
    rewards: dict[str, int] = field(default_factory=dict)

    @property
    def dropped(self) -> dict[str, int]:
        """Rows taken away, by reason, over all steps."""
        totals: dict[str, int] = {}
        for step in self.steps:
            for reason, count in step.dropped.items():
                totals[reason] = totals.get(reason, 0) + count
        return totals


class Dataset:
    """Reads the rows of a frozen data set."""

    def __init__(self, path: Path) -> None:
        """Opens the data set in folder `path`.

        Raises:
            DatasetError: there is no card, or it cannot be read.
        """
        self.path = path
        try:
            raw = json.loads((path / "card.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: no readable data set card ({error}); curate again") from None
        raw["steps"] = tuple(Step(**step) for step in raw["steps"])
        raw["sources"] = tuple(raw["sources"])
        self.card = DatasetCard(**raw)

    def sft(self, part: str) -> list[SftRow]:
        return [SftRow(**row) for row in self._rows("sft", part)]

    def preferences(self, part: str) -> list[Preference]:
        return [Preference(**row) for row in self._rows("preference", part)]

    def unpaired(self, part: str) -> list[Unpaired]:
        return [Unpaired(**row) for row in self._rows("unpaired", part)]

    def regression(self, part: str = "test") -> list[RegressionCase]:
        return [RegressionCase(**row) for row in self._rows("regression", part)]

    def _rows(self, kind: str, part: str) -> list[dict[str, Any]]:
        file = self.path / kind / f"{part}.jsonl"
        if not file.exists():
            return []
        rows = list(read_jsonl(file))
        for row in rows:
            row["prompt"] = tuple(Message(**message) for message in row["prompt"])
        return rows


def digest_content(path: Path) -> str:
    """Digest over all row files of the data set in `path`, by relative name."""
    return digest_of(
        {
            f"{kind}/{part}": file_digest(path / kind / f"{part}.jsonl")
            for kind in KINDS
            for part in PARTS
            if (path / kind / f"{part}.jsonl").exists()
        }
    )


def write_card(path: Path, card: DatasetCard) -> None:
    """Writes the card last: a folder without one is not a data set."""
    (path / "card.json").write_text(json.dumps(to_jsonable(card), indent=1, sort_keys=True), encoding="utf-8")
