"""Drafts become rows with their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Table
from flytewheel.curation.materialise import write_parts
from flytewheel.dataset import part_file, read_rows
from flytewheel.records import Message, Preference, SftRow, Unpaired, build_prompt
from tests.curation.tables import make_draft, make_reviewed, write_bucket

TURNS = (Message(role="user", content="earlier"), Message(role="assistant", content="said"))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Six interactions in two buckets; each has a thumb, a correction and a duel."""
    said: list[dict[str, Any]] = [
        {},
        {"kind": "correction", "corrected_response": "the right way"},
        {"kind": "duel", "other_response": "another way", "preferred": "other"},
    ]
    reviewed = [
        make_reviewed(n, *said, context="Runbook." if n == 1 else None, history=TURNS if n == 2 else ())
        for n in range(6)
    ]
    return Table([write_bucket(tmp_path / name, reviewed[first::2]) for first, name in enumerate(("0000", "0001"))])


def build(table: Table, folder: Path, kind: str, drafts: list[Draft], held: frozenset[str] = frozenset()) -> list[Any]:
    """The rows as they are read again, for every part one."""
    given = {kind: {"test": drafts, "train": drafts}}
    assert write_parts(folder, given, table, held=held) == {kind: {"test": len(drafts), "train": len(drafts)}}
    tested, trained = (list(read_rows(part_file(folder, kind, part), kind)) for part in ("test", "train"))
    assert tested == trained
    return tested


def test_a_row_shows_the_prompt_and_names_its_sources(tmp_path: Path, table: Table) -> None:
    first = make_draft(1, texts=((1, "correction"),), source="correction", reward=1.0, rank=0.55, weight=0.5)
    again = make_draft(2, judged=(2, 4), surprise=1.5, id="b")
    rows: list[SftRow] = build(table, tmp_path, "sft", [again, first], frozenset({"e00401", "e00100"}))
    assert [row.id for row in rows] == ["b", "i00001/answer"], "in the order of their ids"
    two, one = rows
    assert one.prompt == build_prompt("How do I free the disk of host number 1?", context="Runbook.")
    assert (one.completion, one.source, one.weight) == ("the right way", "correction", 0.5)
    assert (one.interactions, one.events) == (("i00001",), ("e00101", "e00102"))
    assert two.prompt == (*TURNS, Message(role="user", content="How do I free the disk of host number 2?"))
    assert two.interactions == ("i00002", "i00004")
    assert two.events == ("e00200", "e00201", "e00202", "e00400", "e00402")
    assert (two.surprise, two.quality) == (1.5, 0.5)


def test_a_paraphrase_has_its_own_query_and_the_same_sources(tmp_path: Path, table: Table) -> None:
    [row] = build(table, tmp_path, "sft", [make_draft(1, query="Otherwise?", prompt=-1, source="paraphrase")])
    assert row.prompt == build_prompt("Otherwise?", context="Runbook.")
    assert (row.source, row.interactions) == ("paraphrase", ("i00001",))


def test_pairs_and_labelled_rows(tmp_path: Path, table: Table) -> None:
    duel = make_draft(3, texts=((3, "other"), (3, "response")), source="duel", margin=1.0)
    near = make_draft(
        0, texts=((0, "response"), (5, "response")), source="near_prompt", judged=(0, 5), similarity=0.93, margin=0.5
    )
    pairs: list[Preference] = build(table, tmp_path, "preference", [duel, near])
    assert [(pair.source, pair.margin, pair.similarity) for pair in pairs] == [
        ("near_prompt", 0.5, 0.93), ("duel", 1.0, 1.0),
    ]  # fmt: skip
    assert (pairs[1].chosen, pairs[0].rejected.startswith("Look at the disk usage of host 5")) == ("another way", True)
    assert pairs[0].interactions == ("i00000", "i00005")
    [labelled] = build(table, tmp_path, "unpaired", [make_draft(3, label=True)])
    assert isinstance(labelled, Unpaired)
    assert labelled.label is True


def test_an_earlier_row_comes_as_it_was(tmp_path: Path, table: Table) -> None:
    row = SftRow("old", "ann", "disk", build_prompt("q"), "a", 1.0, 0.9, "replay", ("x",), ("y",), 0.25, 2.0)
    fresh = make_draft(0)
    old = make_draft(0, id="old", shown=-1, texts=(), judged=(), earlier=row)
    assert build(table, tmp_path, "sft", [old, fresh])[1] == row
    assert build(table, tmp_path, "sft", [old]) == [row]
    assert build(table, tmp_path, "sft", []) == []


def test_chunks_change_nothing(tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts = [make_draft(n, judged=(n, (n + 1) % 6)) for n in (3, 1, 5, 0)]
    whole = build(table, tmp_path, "sft", drafts)
    monkeypatch.setattr("flytewheel.curation.materialise._AT_ONCE", 2)
    assert build(table, tmp_path, "sft", drafts) == whole
    monkeypatch.setattr("flytewheel.curation.materialise.SLICE", 3)
    assert build(table, tmp_path, "sft", drafts) == whole


def test_each_row_has_its_own_text_whatever_columns_its_neighbours_take(tmp_path: Path, table: Table) -> None:
    columns = ("other", "correction", "response", "correction", "other", "response")
    drafts = [make_draft(n, texts=((n, column),), id=f"{n}") for n, column in enumerate(columns)]
    said = {"other": "another way", "correction": "the right way"}
    rows = build(table, tmp_path, "sft", drafts)
    assert [row.id for row in rows] == [str(n) for n in range(6)]
    for n, (row, column) in enumerate(zip(rows, columns, strict=True)):
        assert row.completion == said.get(column, row.completion)
        assert (f"host {n}" in row.completion) == (column == "response")
