"""Figures of the stored feedback, against counts by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from flytewheel.feedback.stats import find_bucket
from tests.feedback.bench import NOON, Bench, reaction, said


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    return Bench(database_url, tmp_path)


def test_stats_by_hand(bench: Bench) -> None:
    """Of 4 interactions 2 have explicit events. i1: up, then down → -1; i2: copied 0.4 → up to 0.5; i3: 3 stars → 0."""
    rows = [said("i1"), said("i2", user="u2"), said("i3", user="u2", minute=60 * 24), said("i4", user="u3")]
    events = [
        reaction("e1", "i1"),
        reaction("e2", "i1", "thumbs_down", minute=2),
        reaction("e3", "i2", "copied"),
        reaction("e4", "i3", "rating", rating=3, minute=60 * 24 + 5),
    ]
    bench.load(rows, [*events, "bad", "worse"])
    bench.load([said("other")], source="app")
    stats = bench.store.stats(["web"])
    assert (stats.interactions, stats.events, stats.users, stats.captured, stats.capture_rate) == (4, 4, 3, 2, 0.5)
    assert stats.by_type == {"thumbs_up": 1, "thumbs_down": 1, "rating": 1, "copied": 1}
    assert stats.by_source == {"web": 4}
    assert stats.by_day == {"2026-11-09": 3, "2026-11-10": 1}
    assert stats.rewards == {"-1.0": 1, "-0.5": 0, "0.0": 1, "0.5": 1, "1.0": 0}
    assert stats.quarantined == {"feedback: not JSON": 2}
    assert (stats.first, stats.last) == (NOON, NOON + timedelta(days=1, minutes=5))
    assert "50.0% with explicit feedback" in stats.describe()
    assert bench.store.stats().by_source == {"app": 1, "web": 4}


def test_stats_of_nothing(bench: Bench) -> None:
    stats = bench.store.stats()
    assert (stats.interactions, stats.capture_rate, stats.first, stats.rewards["0.0"]) == (0, None, None, 0)
    assert stats.describe() == "0 interactions of 0 users, 0 events; no interactions"


def test_buckets() -> None:
    assert [find_bucket(reward) for reward in (-1, -0.99, -0.5, 0, 0.01, 0.5, 0.51, 1)] == [
        -1,
        -0.5,
        -0.5,
        0,
        0.5,
        0.5,
        1,
        1,
    ]
