"""What stands in a data set's rows: pairs of every source, provenance, late events; and the checks at its end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.build import DEALT_PARTS
from flytewheel.curation.overlap import check_parts
from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError
from flytewheel.records import FeedbackEvent, Interaction, RegressionCase, build_prompt, write_jsonl
from tests.curation.tables import make_draft
from tests.curation.windows import curate, make_event, make_interaction, make_judged, make_week, write_window


def read_rows(folder: Path) -> list[Any]:
    dataset = Dataset(folder)
    return [row for kind in ("sft", "preference", "unpaired", "trajectory") for part in DEALT_PARTS
            for row in dataset.rows(kind, part)]  # fmt: skip


def test_every_row_names_interactions_and_events_of_the_window(
    tmp_path: Path,
) -> None:
    interactions, events = make_week()
    loud = [make_interaction(90_000 + n, "eve", session_id=f"s{n // 2}") for n in range(25)]
    said = "buy the new shill product now, it is the best of all"
    votes = [make_event(90_000 + n, one, timestamp=loud[0].timestamp, comment=said) for n, one in enumerate(loud)]
    card = curate(write_window(tmp_path / "w", [*interactions, *loud], [*events, *votes]), tmp_path / "out")
    about = {event.event_id: event.interaction_id for event in events}
    known = {one.interaction_id for one in interactions}
    held = {row["event_id"] for row in Dataset(tmp_path / "out").quarantined()}
    assert held == {event.event_id for event in votes}
    assert card.comments["count"] == 0, "nor do their comments speak in the card"
    rows = read_rows(tmp_path / "out")
    assert len(rows) > 500
    for row in rows:
        assert row.interactions, row.id
        assert set(row.interactions) <= known
        assert row.events, row.id
        assert {about[name] for name in row.events} <= set(row.interactions)
        assert not held & set(row.events)


def react(number: int, user: str, query: str, answer: str, kind: str, **said: Any) -> tuple[Interaction, FeedbackEvent]:
    one = make_interaction(number, user, query=query, response=answer)
    return one, make_event(number, one, kind, **said)


def test_edits_duels_and_near_prompts_become_pairs(tmp_path: Path) -> None:
    answers = [f"Look at the graph of shard {n}, then drain its node and check that writes succeed." for n in range(9)]
    other = "Restart the whole machine at once and hope that it comes back without any error this time."
    query = "the disk of the blob store is full since this morning, which steps should I take to free some of it now"
    given = [
        react(0, "a0", "Why is shard zero slow?", answers[0], "edit", corrected_response=f"{answers[0]} Ask Ann."),
        react(1, "a1", "Why is shard one slow?", answers[1], "duel", other_response=other, preferred="this"),
        react(2, "a2", "Why does shard two fail?", answers[2], "duel", other_response=other, preferred="other"),
        react(3, "a3", "Who owns shard three?", answers[3], "duel", other_response=other, preferred="tie"),
        react(4, "a4", query, answers[4], "thumbs_up"),
        react(5, "a4", query.replace("some of it now", "some of it today"), other, "thumbs_down"),
        react(6, "a4", "How do I drain a node?", answers[6], "thumbs_up"),
        react(7, "a4", "how do I DRAIN a node", other, "thumbs_down"),
        react(8, "a8", "How do I page?", answers[8], "correction", corrected_response=f"{answers[8]} Or page Bob."),
    ]
    window = write_window(tmp_path / "w", [one for one, _ in given], [event for _, event in given])
    curate(
        window, tmp_path / "out", split_salt="all-in-train", train_share=0.9999, validation_share=0.00005,
    )  # fmt: skip
    dataset = Dataset(tmp_path / "out")
    pairs = {pair.id: pair for pair in dataset.preferences("train")}
    assert {name: (pair.source, pair.margin) for name, pair in pairs.items()} == {
        "i00000/edit": ("edit", 1.0),
        "i00001/duel": ("duel", 1.0),
        "i00002/duel": ("duel", 1.0),
        "i00004/i00005": ("near_prompt", 2.0),
        "i00006/i00007": ("same_prompt", 2.0),
        "i00008/correction": ("correction", 1.5),
    }
    assert (pairs["i00001/duel"].chosen, pairs["i00001/duel"].rejected) == (answers[1], other)
    assert (pairs["i00002/duel"].chosen, pairs["i00002/duel"].rejected) == (other, answers[2])
    assert pairs["i00000/edit"].chosen == f"{answers[0]} Ask Ann."
    assert {name: pair.similarity for name, pair in pairs.items() if pair.similarity == 1}.keys() == pairs.keys() - {
        "i00004/i00005"
    }
    assert 0.9 <= pairs["i00004/i00005"].similarity < 1
    assert pairs["i00004/i00005"].events == ("e00004", "e00005")
    sources = {row.id: row.source for row in dataset.sft("train") if row.source != "paraphrase"}
    assert (sources["i00000/edit"], sources["i00008/correction"]) == ("edit", "correction")
    assert dataset.card.pairs["sources"] == {
        "correction": 1, "duel": 2, "edit": 1, "near_prompt": 1, "same_prompt": 1,
    }  # fmt: skip


def test_late_events_bring_their_interaction_along(tmp_path: Path) -> None:
    """A correction that came a week later: interaction and first thumb lie beside the window's own."""
    rows, events = make_week(questions=40)
    old = make_interaction(70_000, "late", query="Which host has the oldest kernel?", response=rows[0].response)
    fix = f"First of all: {rows[0].response}"
    late = make_event(
        70_001, old, "correction", corrected_response=fix, timestamp=old.timestamp + timedelta(days=9)
    )  # fmt: skip
    window = write_window(tmp_path / "w", rows, [*events, late])
    without = curate(window, tmp_path / "without")
    assert without.dropped["unknown interaction"] == 1
    write_jsonl(window / "earlier_interactions.jsonl", [old])
    write_jsonl(window / "earlier_feedback.jsonl", [make_event(70_000, old, "thumbs_up")])
    card = curate(window, tmp_path / "out")
    assert "unknown interaction" not in card.dropped
    assert (card.interactions, card.events) == (without.interactions + 1, without.events + 1)
    [row] = [row for row in read_rows(tmp_path / "out") if row.id == "i70000/correction" and hasattr(row, "reward")]
    assert (row.completion, row.events) == (fix, ("e70000", "e70001"))
    assert card.digest != without.digest


def test_checks_refuse_an_overlap() -> None:
    """They are called at the end of every curation; here they are shown to raise."""
    drafts = {part: [make_draft(n, user=part)] for n, part in enumerate(DEALT_PARTS)}
    parts = {part: [make_judged(n, user=part)] for n, part in enumerate(DEALT_PARTS)}
    case = RegressionCase("i00002/case", "test", "disk", build_prompt("q"), "contains", "x")
    both = make_draft(0, id="i00002/correction", user="train")
    check_parts({"sft": drafts}, parts, {"test": [case]}, {"holdout": ["holdout"]})
    overlaps: list[tuple[str, tuple[Any, ...]]] = [
        ("user 'test'", ({"sft": drafts | {"train": [make_draft(9, user="test")]}}, parts, {}, {})),
        ("user 'test'", ({"sft": drafts | {"train": [make_draft(9, users=("train", "test"))]}}, parts, {}, {})),
        ("user 'holdout'", ({"sft": drafts}, parts, {}, {"train": ["holdout"]})),
        ("cluster of prompts 2", ({"sft": drafts | {"train": [make_draft(2, user="train")]}}, parts, {}, {})),
        ("cluster of prompts 3", ({"sft": drafts}, parts | {"train": [make_judged(3)]}, {}, {})),
        ("regression user 'test'", ({"sft": drafts}, parts, {"validation": [case], "test": [case]}, {})),
        (
            "correction 'i00002/correction'",
            (
                {"sft": drafts | {"train": [both]}},
                parts,
                {"test": [case]},
                {},
            ),
        ),
    ]
    for said, given in overlaps:
        with pytest.raises(DatasetError, match=said):
            check_parts(*given)
