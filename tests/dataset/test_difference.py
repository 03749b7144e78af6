from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flytewheel.dataset import Dataset
from flytewheel.dataset.difference import compare
from flytewheel.records import SftRow

from .made import CASE, PAIR, SFT, make


def row(name: str, user: str, **changes: object) -> SftRow:
    return replace(SFT, id=name, user=user, **changes)  # type: ignore[arg-type]


def test_rows_users_recipe_funnel_and_topics_are_compared(tmp_path: Path) -> None:
    make(
        tmp_path / "a",
        {
            ("sft", "train"): [row("kept", "u1"), row("changed", "u2"), row("gone", "u3"), row("moved", "u4")],
            ("preference", "test"): [PAIR],
            ("regression", "test"): [replace(CASE, user="u2")],
        },
        topics={"disk": 4},
    )
    make(
        tmp_path / "b",
        {
            ("sft", "train"): [row("kept", "u1"), row("changed", "u2", events=("e1", "e2")), row("new", "u5")],
            ("sft", "test"): [row("moved", "u4")],
            ("preference", "test"): [replace(PAIR, similarity=0.9)],
        },
        digest="e" * 64,
        topics={"disk": 4, "dns": 1},
        recipe={"curation": {"min_quality_score": 0.6, "abuse": {"burst_events": 20}}, "seed": 3},
        funnel=(("came in", 12), ("sft rows", 5)),
    )
    found = compare(Dataset(tmp_path / "a"), Dataset(tmp_path / "b"))
    assert (found.a, found.b, found.same_rows) == ("d" * 64, "e" * 64, False)
    assert found.rows["sft"]["train"] == {"added": 1, "removed": 2, "changed": 1}
    assert found.rows["sft"]["test"] == {"added": 1, "removed": 0, "changed": 0}
    assert found.rows["preference"]["test"] == {"added": 0, "removed": 0, "changed": 1}
    assert found.rows["regression"]["test"] == {"added": 0, "removed": 1, "changed": 0}
    assert found.moved_users == {"train → test": 1}
    assert found.recipe == {"curation.min_quality_score": (0.5, 0.6), "seed": ("–", 3)}
    assert found.funnel == {"came in": (9, 12), "screened": (6, None), "sft rows": (5, 5)}
    assert found.topics == {"dns": (0, 1)}


def test_a_data_set_does_not_differ_from_itself(tmp_path: Path) -> None:
    make(tmp_path)
    data = Dataset(tmp_path)
    found = compare(data, data)
    assert found.same_rows
    assert (found.recipe, found.topics, found.moved_users) == ({}, {}, {})
    assert not any(count for parts in found.rows.values() for counts in parts.values() for count in counts.values())


def test_a_null_that_becomes_a_number_is_a_change(tmp_path: Path) -> None:
    make(tmp_path / "a", {("sft", "train"): [row("s", "u", surprise=None)]})
    make(tmp_path / "b", {("sft", "train"): [row("s", "u", surprise=0.0)]})
    found = compare(Dataset(tmp_path / "a"), Dataset(tmp_path / "b"))
    assert found.rows["sft"]["train"] == {"added": 0, "removed": 0, "changed": 1}
