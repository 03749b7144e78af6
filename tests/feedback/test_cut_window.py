"""A window that is cut for a small turn: the rows since a mark, the same bytes again, and nothing closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytewheel.dataset import Dataset
from flytewheel.errors import FeedbackError
from flytewheel.feedback.audit import audit
from flytewheel.feedback.window import cut_window, write_window
from flytewheel.local.services import Services
from flytewheel.turn import hold_votes
from tests.dataset.made import make
from tests.feedback.test_window import Week, names_in, read_all, said, thumb


@pytest.fixture
def week(database_url: str, tmp_path: Path) -> Week:
    found = Week(database_url, tmp_path)
    found.add(said("i1"), thumb("e1", "i1"))
    return found


def test_it_has_what_came_in_since_and_the_next_window_has_it_too(week: Week, tmp_path: Path) -> None:
    first = week.close()
    week.add(said("i2"), said("i3"), thumb("e2", "i1"))
    too_little = cut_window(week.url, "oncall", ["web"], low_xid=first.high_xid, at_least=4)
    assert (too_little.window, too_little.interactions) == (None, 3)  # two new ones and the one that e2 is about
    cut = cut_window(week.url, "oncall", ["web"], low_xid=first.high_xid, at_least=3).window
    assert cut is not None
    assert (cut.series, cut.number, cut.low_xid, cut.interactions, cut.revisited) == (
        first.series, 0, first.high_xid, 2, 1,
    )  # fmt: skip
    write_window(week.url, cut, tmp_path / "cut")
    assert names_in(tmp_path / "cut") == (["i2", "i3"], ["e2"])
    assert names_in(tmp_path / "cut", earlier=True) == (["i1"], ["e1"])
    before = read_all(tmp_path / "cut")

    week.add(said("i4"), thumb("e3", "i2"))
    second = week.close()
    assert (second.number, second.low_xid, second.interactions) == (2, first.high_xid, 3)
    write_window(week.url, cut, tmp_path / "cut")
    assert read_all(tmp_path / "cut") == before
    assert audit(week.url).holds
    assert write_window(week.url, cut, tmp_path / "newest", limit=1).skipped == 1


def test_a_mark_of_another_cluster_is_refused(week: Week) -> None:
    with pytest.raises(FeedbackError, match="its data come from another cluster"):
        cut_window(week.url, "oncall", ["web"], low_xid="99999999999", patience_s=0)


def test_its_votes_in_quarantine_are_left_to_the_window_that_will_have_them(week: Week, tmp_path: Path) -> None:
    services = Services(tmp_path, week.url, "", "", "", None, "", "", "", "")
    cut = cut_window(week.url, "oncall", ["web"], low_xid="0").window
    assert cut is not None
    card = make(tmp_path / "data", window={"series": cut.series, "number": cut.number})
    assert list(Dataset(tmp_path / "data").quarantined())
    assert hold_votes(services, tmp_path / "data", card) == 0
    with pytest.raises(FeedbackError, match="no window 3"):
        hold_votes(services, tmp_path / "data", make(tmp_path / "data", window={"series": cut.series, "number": 3}))
