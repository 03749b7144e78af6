"""The same window gives the same bytes, however its lines are ordered and dealt out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytewheel.curation import deal
from flytewheel.dataset import Dataset
from tests.curation.weeks import BAD, HOLDOUT, curate_in_shares, make_busy_week, read_bytes, write_busy_window
from tests.curation.windows import curate


@pytest.mark.parametrize("seed", range(3))
def test_order_buckets_and_shares_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    week = make_busy_week(seed)
    card = curate(write_busy_window(tmp_path / "w", week), tmp_path / "one", **HOLDOUT)
    whole = read_bytes(tmp_path / "one")
    for turn, (rows, shares) in enumerate(((20, 1), (20_000, 3), (15, 4)) if seed else ((1, 1), (9, 4))):
        monkeypatch.setattr(deal, "ROWS_A_BUCKET", rows)
        window = write_busy_window(tmp_path / f"w{turn}", week, shuffle=100 * seed + turn)
        out = tmp_path / f"out{turn}"
        other = curate_in_shares(window, tmp_path / f"s{turn}", out, shares=shares, turned=bool(turn % 2), **HOLDOUT)
        assert other == card
        differing = [name for name, data in read_bytes(out).items() if data != whole.get(name)]
        assert differing == []
    assert read_bytes(out).keys() == whole.keys()


def test_every_kind_of_row_and_of_bad_line_was_there(tmp_path: Path) -> None:
    """What the test above compares is not empty."""
    card = curate(write_busy_window(tmp_path / "w", make_busy_week(0)), tmp_path / "out", **HOLDOUT)
    assert all(card.counts[kind][part] for kind in ("sft", "unpaired") for part in ("train", "validation", "test"))
    assert all(sum(card.counts[kind].values()) for kind in ("preference", "trajectory"))
    assert card.counts["sft"]["holdout"] > 0
    dropped = {step.name: step.dropped for step in card.steps}
    # the number that is none, beside the bad lines: a line that came twice is one
    assert dropped["read interactions"] == {"unreadable": len(BAD) + 1, "same id, other content": 2}
    assert dropped["read feedback"] == {"unreadable": len(BAD) + 1, "same id, other content": 3}
    assert {"burst", "toxicity in question"} <= card.dropped.keys()
    sources = {row.source for part in card.counts["sft"] for row in Dataset(tmp_path / "out").sft(part)}
    assert sources == {"answer", "correction", "edit", "paraphrase"}


def test_processes_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deal, "ROWS_A_BUCKET", 50)
    window = write_busy_window(tmp_path / "w", make_busy_week(1))
    assert curate(window, tmp_path / "one", workers=1) == curate(window, tmp_path / "two", workers=2)
    assert read_bytes(tmp_path / "one") == read_bytes(tmp_path / "two")


def test_balance_by_weight_replay_and_cases_change_no_byte_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curate(write_busy_window(tmp_path / "e", make_busy_week(5, prefix="old")), tmp_path / "earlier")
    week = make_busy_week(6)
    more = {"balance_by": "weight", "max_topic_ratio": 1.0, "augmentation_factor": 2.0, "max_rows_per_user": 4}
    one = curate(write_busy_window(tmp_path / "w", week), tmp_path / "one", replay=tmp_path / "earlier", **more)
    monkeypatch.setattr(deal, "ROWS_A_BUCKET", 7)
    window = write_busy_window(tmp_path / "w2", week, shuffle=3)
    assert curate(window, tmp_path / "two", replay=tmp_path / "earlier", **more) == one
    assert read_bytes(tmp_path / "one") == read_bytes(tmp_path / "two")
    assert any(row.source == "replay" for row in Dataset(tmp_path / "one").sft("train"))
    assert len({row.weight for row in Dataset(tmp_path / "one").sft("train")}) > 1


def test_a_folder_that_held_another_data_set_holds_nothing_of_it(tmp_path: Path) -> None:
    window = write_busy_window(tmp_path / "w", make_busy_week(2))
    curate(window, tmp_path / "fresh")
    curate(write_busy_window(tmp_path / "w3", make_busy_week(3)), tmp_path / "used")
    curate(window, tmp_path / "used")
    assert read_bytes(tmp_path / "fresh") == read_bytes(tmp_path / "used")
