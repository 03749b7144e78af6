"""Replay of earlier rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flytewheel.curation.draft import Draft
from flytewheel.curation.replay import add_replayed
from flytewheel.dataset import Step
from flytewheel.records import SftRow
from tests.curation.test_balance import draft


def add(
    drafts: list[Draft[SftRow]], earlier: list[SftRow], share: float, seed: int = 7
) -> tuple[list[Draft[SftRow]], Step]:
    return add_replayed(
        "sft",
        drafts,
        earlier,
        share=share,
        seed=seed,
        part_of=lambda user: "test" if user == "held" else "train",
        system_prompt=None,
    )


def test_share_of_the_result() -> None:
    rows = [draft(n) for n in range(80)]
    out, step = add(rows, [draft(n).row for n in range(100, 200)], 0.2)
    assert len(out) == 100
    assert {one.row.source for one in out[80:]} == {"replay"}
    assert step.dropped == {"not drawn": 80}


def test_what_never_comes_back() -> None:
    earlier = [
        draft(0).row,
        draft(1, user="held").row,
        replace(draft(2).row, source="paraphrase"),
        replace(draft(3).row, id="other"),
        draft(4).row,
    ]
    out, step = add([draft(0), draft(3)], earlier, 0.9)
    assert [one.row.id for one in out[2:]] == ["r004"]
    assert step.dropped == {"already there": 2, "paraphrase": 1, "user is held out now": 1}


def test_better_rows_come_back_more_often() -> None:
    earlier = [draft(n, quality=0.9 if n % 2 else 0.1).row for n in range(1000, 2000)]
    out, _ = add([draft(n) for n in range(100)], earlier, 0.5)
    good = sum(one.row.quality > 0.5 for one in out[100:]) / 100
    assert good == pytest.approx(0.95 / 1.10, abs=0.1)  # weights 0.95 and 0.15, few drawn
    assert add([draft(n) for n in range(100)], earlier[::-1], 0.5)[0] == out
    assert add([draft(n) for n in range(100)], earlier, 0.5, seed=8)[0] != out
