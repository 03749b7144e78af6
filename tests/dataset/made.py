"""A data set with a row of every kind in every part, written as curation writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flytewheel.dataset import LAYOUT, QUARANTINED, DatasetCard, Step, digest_content, part_file, write_card, write_rows
from flytewheel.records import Message, Preference, RegressionCase, SftRow, Trajectory, Unpaired

ASK = (Message(role="system", content="Be brief."), Message(role="user", content="Disk full? 磁盘 🙂"))
FROM = {"interactions": ("i1", "i2"), "events": ("e1",)}
SFT = SftRow("s", "u", "disk", ASK, "Prune.", 1.0, 0.9, "answer", **FROM, weight=0.5, surprise=2.25)
PAIR = Preference("p", "u", "disk", ASK, "Prune it now.", "Wait.", 2.0, "near_prompt", 0.91, **FROM)
THUMB = Unpaired("t", "u", "disk", ASK, "Wait.", False, **FROM)
SESSION = Trajectory("j", "u", "disk", (*ASK, Message(role="assistant", content="Prune.")), (None, 0.5), None, **FROM)
CASE = RegressionCase("r", "u", "disk", ASK, "contains", "Prune")
ROWS: dict[str, Any] = {
    "sft": SFT,
    "preference": PAIR,
    "unpaired": THUMB,
    "trajectory": SESSION,
    "regression": CASE,
}
LEFT_OUT = {"event_id": "e9", "interaction_id": "i9", "user_id": "u9", "reason": "burst: 40 reactions in 60 s"}
STEPS = (
    Step("screen", 9, 6, {"toxic": 2, "empty": 1}, {"toxic": ["<EMAIL_1> is a <b>fool</b> ![x](http://a.example/x)"]}),
    Step("split", 6, 5, {"empty": 1}),
)
CARD = DatasetCard(
    digest="d" * 64,
    content_digest="c" * 64,
    sources=("oncall",),
    interactions=9,
    events=3,
    steps=STEPS,
    counts={"sft": {"train": 1}},
    users={"train": 1},
    topics={"disk": 1},
    rewards={"positive": 1, "zero": 0, "negative": 0},
    funnel=(("came in", 9), ("screened", 6), ("sft rows", 5)),
    license="CC-BY-4.0",
    time_range=("2026-11-16T00:00:00+00:00", "2026-11-22T23:59:00+00:00"),
    recipe={"curation": {"min_quality_score": 0.5, "abuse": {"burst_events": 20}}},
    code_version="curation-2",
    git_commit="abc",
    window={"series": "oncall", "number": 3, "marks": {"interactions": [1, 2]}},
    scores={"before": [0] * 10 + [4, 3] + [0] * 8, "after": [0] * 10 + [0, 3] + [0] * 8},
    lengths={"before": [0, 0, 0, 9] + [0] * 10, "after": [0, 0, 0, 5] + [0] * 10},
    topics_before={"disk": 6, "a|b <i>": 3},
    topics_after={"disk": 5},
    pairs={
        "count": 1, "sources": {"near_prompt": 1}, "margins": [0] * 19 + [1],
        "length_bias": {"mean_words": 2.0, "share_longer": 1.0, "share_shorter": 0.0},
    },
    comments={
        "count": 2, "sentiment": {"negative": 2},
        "themes": [{"theme": "too long", "count": 2, "example": "way too long, <EMAIL_1>"}],
    },
    redacted={"EMAIL": 7},
)  # fmt: skip


def make(folder: Path, rows: Mapping[tuple[str, str], list[Any]] | None = None, **fields: Any) -> DatasetCard:
    """Writes a complete data set; without `rows` one row in every part, of a user of that part."""
    if rows is None:
        rows = {
            (kind, part): [replace(ROWS[kind], id=f"{kind}-{part}", user=f"{part}-user")]
            for kind, parts in LAYOUT.items()
            for part in parts
        }
        write_rows(part_file(folder, QUARANTINED), QUARANTINED, [LEFT_OUT])
    for (kind, part), own in rows.items():
        write_rows(part_file(folder, kind, part), kind, own)
    counts = {kind: {part: len(rows.get((kind, part), ())) for part in parts} for kind, parts in LAYOUT.items()}
    card = replace(CARD, **{"counts": counts, "content_digest": digest_content(folder), **fields})
    write_card(folder, card)
    return card
