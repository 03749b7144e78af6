"""The prepared buckets as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flytewheel.curation.judged import Table
from flytewheel.errors import DatasetError
from flytewheel.feedback.rewards import score
from flytewheel.recipe import FeedbackSpec, QualityWeights
from tests.curation.tables import make_reviewed, write_bucket

ROWS = 40


def build(folder: Path, buckets: int) -> Table:
    """Forty interactions, dealt into buckets by their number."""
    reviewed = [
        make_reviewed(n, {"kind": "thumbs_up" if n % 3 else "thumbs_down"}, {"kind": "copied"}) for n in range(ROWS)
    ]
    return Table([write_bucket(folder / f"{own:04d}", reviewed[own::buckets]) for own in range(buckets)])


@pytest.mark.parametrize("buckets", [1, 3, 7, 41])
def test_rows_and_votes_stand_in_time_whatever_their_buckets(tmp_path: Path, buckets: int) -> None:
    """The forty-first bucket is empty."""
    table = build(tmp_path, buckets)
    assert len(table) == table.count_scored() == ROWS
    assert table.light["id"].to_list() == [f"i{n:05d}" for n in range(ROWS)]
    assert table.fetch([5, 1, 39, 5], ("id",))["id"].to_list() == ["i00005", "i00001", "i00039", "i00005"]
    assert table.fetch([], ("id", "query")).shape == (0, 2)
    votes = table.read_votes(("sign",))
    assert votes["event_id"].to_list() == [f"e{n * 100 + place:05d}" for n in range(ROWS) for place in range(2)]
    assert votes["place"].to_list() == [n for n in range(ROWS) for _ in range(2)]


@pytest.mark.parametrize("buckets", [1, 3])
def test_prompts_are_numbered_bucket_by_bucket_and_come_back_in_time(tmp_path: Path, buckets: int) -> None:
    table = build(tmp_path, buckets)
    given = np.array([n for own in range(buckets) for n in range(ROWS)[own::buckets]], dtype=np.int64)
    assert table.place_prompts(given).tolist() == list(range(ROWS))
    with pytest.raises(DatasetError, match="40 rows but 39 prompts"):
        table.place_prompts(given[1:])


def weigh(events: Any, session_s: float | None) -> Any:
    return score(events, FeedbackSpec(), session_duration_s=session_s)


def test_scoring_again_without_some_events(tmp_path: Path) -> None:
    """Without its thumb an answer has copied alone: 0.4 × 0.3 + 0.15 = 0.27; without both nothing."""
    table = build(tmp_path, 3)
    before = table.light
    held = frozenset({"e00100", "e00200", "e00201"})
    table.score_again(np.array([1, 2]), held, weigh, QualityWeights())
    assert table.light["id"].to_list() == before["id"].to_list()
    assert table.light.row(1, named=True)["explicit"] is None
    assert table.light.row(1, named=True)["total"] == pytest.approx(0.4)
    assert table.light.row(1, named=True)["quality"] == pytest.approx(0.27)
    assert table.light.row(2, named=True)["total"] is None
    assert table.count_scored() == ROWS - 1
    rest = [0, *range(3, ROWS)]
    assert table.light[rest].equals(before[rest])
    table.score_again(np.array([], dtype=np.int64), held, weigh, QualityWeights())


def test_texts_of_events_in_quarantine_go_with_them(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [
        {"kind": "correction", "corrected_response": "other text"},
        {"kind": "duel", "other_response": "a third", "preferred": "other"},
        {"kind": "thumbs_up"},
    ]
    table = Table([write_bucket(tmp_path / "0", [make_reviewed(n, *said) for n in range(3)])])
    table.score_again(np.array([0, 1]), frozenset({"e00000", "e00101"}), weigh, QualityWeights())
    assert [key is None for key in table.light["correction_key"]] == [True, False, False]
    assert [key is None for key in table.light["other_key"]] == [False, True, False]
    assert table.light["other_preferred"].to_list() == [True, None, True]


def test_judged_rows_have_their_numbers(tmp_path: Path) -> None:
    table = build(tmp_path, 3)
    table.score_again(np.array([0]), frozenset({"e00000", "e00001"}), weigh, QualityWeights())
    prompts = np.arange(ROWS) // 2
    rows = table.list_judged(prompts, np.arange(20) + 100, np.arange(20) + 200)
    assert [one.place for one in rows] == list(range(1, ROWS))
    assert (rows[4].prompt, rows[4].cluster, rows[4].question) == (2, 102, 202)
    assert rows[4].answer == table.light["response_key"][5]
    table.set_topics([f"t{place % 4}" for place in range(ROWS)])
    assert table.list_judged(prompts, np.arange(20), np.arange(20))[0].topic == "t1"


def test_a_missing_topic_has_a_name(tmp_path: Path) -> None:
    table = Table([write_bucket(tmp_path / "0", [make_reviewed(0, topic=None)])])
    one = np.zeros(1, dtype=np.int64)
    assert table.list_judged(one, one, one)[0].topic == "unlabelled"
