"""Which of several reactions counts, and in which direction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flytewheel.curation.reactions import find_duel, find_sign, find_written
from tests.curation.windows import make_event, make_interaction


def test_the_last_written_text_and_the_last_duel_count() -> None:
    one = make_interaction(0)
    late = one.timestamp + timedelta(hours=1)
    events = [
        make_event(0, one, "edit", corrected_response="edited", timestamp=late),
        make_event(1, one, "correction", corrected_response="first"),
        make_event(2, one, "correction", corrected_response="second"),
        make_event(3, one, "correction", timestamp=late),  # its text was screened out
        make_event(4, one, "duel", other_response="x", preferred="this"),
        make_event(5, one, "duel", other_response="y", preferred="other"),
        make_event(6, one, "duel", other_response="z", preferred="tie", timestamp=late),
        make_event(7, one, "duel", preferred="this", timestamp=late),
    ]
    for given in (events, events[::-1]):
        found, duel = find_written(given), find_duel(given)
        assert found is not None
        assert found.event_id == "e00002"
        assert duel is not None
        assert duel.event_id == "e00005"
    assert find_written(events[:1]) == events[0]
    assert find_written([]) is None
    assert find_duel(events[:4]) is None


@pytest.mark.parametrize(
    ("kind", "fields", "sign"),
    [
        ("thumbs_up", {}, 1),
        ("thumbs_down", {}, -1),
        ("correction", {}, -1),
        ("abandonment", {}, -1),
        ("rating", {"rating": 4}, 1),
        ("rating", {"rating": 3}, 0),
        ("rating", {"rating": 1}, -1),
        ("rating", {}, 0),
        ("duel", {"preferred": "this"}, 1),
        ("duel", {"preferred": "other"}, -1),
        ("duel", {"preferred": "tie"}, 0),
        ("edit", {}, 0),
        ("copied", {}, 0),
    ],
)
def test_signs(kind: str, fields: dict[str, Any], sign: int) -> None:
    assert find_sign(make_event(0, make_interaction(0), kind, **fields)) == sign
