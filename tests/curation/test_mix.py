"""Shaping training rows, and keeping held-out prompts out of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flytewheel.curation.draft import Draft
from flytewheel.curation.features import PROMPTS
from flytewheel.curation.fingerprints import load_fingerprints
from flytewheel.curation.judged import Table
from flytewheel.curation.mix import TrainingRows
from flytewheel.dataset import Dataset
from flytewheel.records import SftRow, build_prompt
from tests.curation.tables import make_draft, make_reviewed, write_bucket
from tests.curation.windows import curate, make_rules, make_week, write_window

QUERY = "the disk of host {} is full since this morning, which steps should I take to free some of it now"


class Mix:
    """Interactions with these queries; the prompt of each is numbered as it is."""

    def __init__(
        self, folder: Path, queries: Sequence[str], *, earlier: Dataset | None = None, **curation: Any
    ) -> None:
        bucket = write_bucket(folder / "0000", [make_reviewed(n, query=query) for n, query in enumerate(queries)])
        table = Table([bucket])
        prints = load_fingerprints([bucket / PROMPTS])
        self.prompts = table.place_prompts(prints.index)
        self.rows = TrainingRows(table, prints, make_rules(**curation), seed=7, earlier=earlier, cache=None)

    def draft(self, place: int, **fields: Any) -> Draft:
        return make_draft(place, **{"prompt": int(self.prompts[place]), **fields})

    def account(self) -> dict[str, dict[str, int]]:
        return {one.name: dict(one.dropped) for one in self.rows.take_accounts()}


def test_caps_hold_in_every_part(tmp_path: Path) -> None:
    mix = Mix(tmp_path, [f"question {n}" for n in range(9)], max_rows_per_user=2, max_rows_per_cluster=3)
    drafts = [mix.draft(n, user="ann" if n < 4 else f"u{n}", cluster=n // 5) for n in range(9)]
    for part in ("train", "validation", "test", "holdout"):
        assert len(mix.rows.cap("sft", part, drafts)) == 2 + 1 + 3
    assert set(mix.account()) == {
        "cap users and prompts (sft)", "cap users and prompts (sft, validation)", "cap users and prompts (sft, test)",
        "cap users and prompts (sft, holdout)",
    }  # fmt: skip
    assert mix.account() == {}


def test_only_sft_is_paraphrased(tmp_path: Path) -> None:
    mix = Mix(tmp_path, [f"question {n}" for n in range(8)], augmentation_factor=2.0)
    drafts = [mix.draft(n) for n in range(8)]
    assert len(mix.rows.shape("sft", drafts)) == 16
    assert mix.rows.shape("preference", drafts) == drafts
    assert mix.rows.shape("unpaired", drafts) == drafts


@pytest.mark.parametrize("by", ["cap", "weight"])
def test_topics_are_balanced_by_cap_or_by_weight(tmp_path: Path, by: str) -> None:
    """Sizes 30 and 10: the median is 20; a ratio of 1 leaves 20 of the large topic, or weighs its rows 20 / 30."""
    mix = Mix(
        tmp_path, [f"question {n}" for n in range(40)],
        balance_by=by, max_topic_ratio=1, augmentation_factor=1.0,
    )  # fmt: skip
    drafts = [mix.draft(n, topic="large" if n < 30 else "small") for n in range(40)]
    kept = mix.rows.shape("sft", drafts)
    large = [draft for draft in kept if draft.topic == "large"]
    assert len(large) == (20 if by == "cap" else 30)
    assert [draft.weight for draft in large] == [1.0 if by == "cap" else pytest.approx(20 / 30)] * len(large)
    assert {draft.weight for draft in kept if draft.topic == "small"} == {1.0}
    assert len(kept) == (30 if by == "cap" else 40)


def test_balance_can_be_switched_off(tmp_path: Path) -> None:
    mix = Mix(tmp_path, [f"q {n}" for n in range(40)], balance_topics=False, max_topic_ratio=1, augmentation_factor=1.0)
    drafts = [mix.draft(n, topic="large" if n < 30 else "small") for n in range(40)]
    assert mix.rows.shape("sft", drafts) == drafts


def test_training_keeps_away_from_regression_cases(tmp_path: Path) -> None:
    mix = Mix(tmp_path, [QUERY.format("blob"), QUERY.format("blob").replace("now", "today"), "quite another thing"])
    near = mix.rows.guard([], [build_prompt(QUERY.format("blob").upper())])
    assert near[mix.prompts].tolist() == [True, True, False]
    kept = mix.rows.decontaminate("sft", [mix.draft(n) for n in range(3)])
    assert [draft.shown for draft in kept] == [2]
    assert mix.account() == {"decontaminate (sft)": {"near to a held-out prompt or regression case": 2}}


def test_a_paraphrase_near_to_a_held_out_prompt_is_taken_out(tmp_path: Path) -> None:
    """The row stays that it was made of: its own prompt stands in a cluster of training."""
    mix = Mix(tmp_path, [QUERY.format("blob"), f"Hello, {QUERY.format('cart')}"])
    mix.rows.guard([int(mix.prompts[1])], [])
    own = mix.draft(0)
    near = mix.draft(0, id="p1", prompt=-1, query=f"Hello, {QUERY.format('cart')} please", source="paraphrase")
    far = mix.draft(0, id="p2", prompt=-1, query=f"Quick question: {QUERY.format('blob')}", source="paraphrase")
    assert mix.rows.decontaminate("sft", [own, near, far]) == [own, far]


def test_an_earlier_row_near_to_a_held_out_prompt_is_taken_out(tmp_path: Path) -> None:
    mix = Mix(tmp_path, [QUERY.format("blob"), QUERY.format("cart")])
    mix.rows.guard([int(mix.prompts[1])], [])

    def bring(name: str, query: str, context: str | None = None) -> Draft:
        prompt = build_prompt(query, context=context)
        row = SftRow(name, "ann", "disk", prompt, "answer", 1.0, 0.5, "replay")
        return make_draft(0, id=name, prompt=-1, cluster=-1, shown=-1, texts=(), judged=(), earlier=row)

    rows = [
        bring("same", QUERY.format("cart")),
        bring("near", QUERY.format("cart").replace("now", "today")),
        bring("other runbook", QUERY.format("cart"), "A long runbook about something that has nothing to do with it."),
        bring("other", "which colour has the sky"),
    ]
    assert [draft.id for draft in mix.rows.decontaminate("sft", rows)] == ["other runbook", "other"]


def test_nothing_fresh_and_nothing_held_out(tmp_path: Path) -> None:
    mix = Mix(tmp_path, ["question one"])
    assert not mix.rows.guard([], []).any()
    assert mix.rows.decontaminate("sft", []) == []
    assert mix.rows.decontaminate("sft", [mix.draft(0)]) == [mix.draft(0)]
    fresh = mix.draft(0, prompt=-1, query="Hello, question one")
    assert mix.rows.decontaminate("sft", [fresh]) == [fresh]


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mix = Mix(tmp_path, [QUERY.format(n) for n in range(20)], augmentation_factor=3.0)
    mix.rows.guard([int(mix.prompts[3])], [build_prompt(f"Hello, {QUERY.format(5)}")])
    drafts = mix.rows.shape("sft", [mix.draft(n) for n in range(20)])
    whole = mix.rows.decontaminate("sft", drafts)
    monkeypatch.setattr("flytewheel.curation.mix._AT_ONCE", 3)
    assert mix.rows.decontaminate("sft", drafts) == whole
    assert np.all([draft.id.startswith("i") for draft in whole])


def test_what_this_window_has_does_not_come_back(tmp_path: Path) -> None:
    """Earlier rows with the prompt and the answer of a row of this window, under another id."""
    window = write_window(tmp_path / "w", *make_week(questions=60))
    curate(window, tmp_path / "first", augmentation_factor=1.0, balance_topics=False)
    turned = [one.model_copy(update={"interaction_id": f"x{one.interaction_id}"}) for one in make_week(questions=60)[0]]
    events = [
        event.model_copy(update={"interaction_id": f"x{event.interaction_id}", "event_id": f"x{event.event_id}"})
        for event in make_week(questions=60)[1]
    ]
    card = curate(
        write_window(tmp_path / "again", turned, events), tmp_path / "second",
        replay=tmp_path / "first", replay_share=1.0, augmentation_factor=1.0, balance_topics=False,
    )  # fmt: skip
    back = next(step for step in card.steps if step.name == "replay (sft)")
    assert back.dropped == {"already there": len(Dataset(tmp_path / "first").sft("train"))}
